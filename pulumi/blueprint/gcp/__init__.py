"""Google Cloud: private GKE, one bucket, one registry, and identities that need no key and no annotation."""

import pulumi
import pulumi_gcp
from pulumi_gcp import organizations, projects

from blueprint import kube
from blueprint.contract import WORKLOADS, Platform
from blueprint.gcp import access, cluster, data
from blueprint.site import Site
from blueprint.spec import Gcp, PlatformSpec, section

APIS = ("artifactregistry", "cloudkms", "compute", "container", "iam", "storage")


def build(spec: PlatformSpec) -> Platform:
    """Everything of the spec, in the order in which one part needs another."""
    own = section(spec, Gcp)
    provider = pulumi_gcp.Provider(
        "gcp", project=own.project, region=spec.region, user_project_override=True, billing_project=own.project
    )
    site = Site.open(spec, provider)
    site = site.after(switch_on(site, own))
    number = organizations.get_project_output(project_id=own.project, opts=site.invoke()).number

    keys = data.keys(site)
    encryption = data.let_services_encrypt(site, own, keys.data, number)
    bucket = data.bucket(site, own, keys.data, encryption)
    registry = data.registry(site, keys.data, encryption)
    nodes = access.node_identity(site, own, registry)
    gke = cluster.cluster(site, own, nodes, keys.data, encryption)
    pools = cluster.pools(site, gke, nodes)
    doors = access.Doors(site, own, bucket, registry, keys.sops, number)
    doors.grant_all(after=gke)
    if own.vertex:
        doors.open_vertex(data.secrets(site, own, keys.data, encryption), after=gke)
    access.budget(site, number)

    config: pulumi.Output[str] = pulumi.Output.secret(cluster.kubeconfig(site, gke))
    return Platform(
        cloud="gcp",
        region=spec.region,
        kubeconfig=config,
        kubernetes=kube.provider(config, parent=site.component),
        registry=pulumi.Output.concat(spec.region, "-docker.pkg.dev/", own.project, "/", registry.repository_id),
        bucket_uri=pulumi.Output.concat("gs://", bucket.name),
        object_store_endpoint="",
        storage_class="premium-rwo",
        sops_key=keys.sops.id,
        identities={workload.name: pulumi.Output.from_input("") for workload in WORKLOADS},
        cluster=gke,
        ready=pools,
    )


def switch_on(site: Site, own: Gcp) -> list[projects.Service]:
    """An empty project has nothing switched on. Nothing is switched off at the end: others may use it."""
    names = list(APIS)
    if own.vertex:
        names.append("aiplatform")
    if own.vertex_secrets:
        names.append("secretmanager")
    if site.spec.budget:
        names += ["billingbudgets", "monitoring"]
    return [
        projects.Service(name, service=f"{name}.googleapis.com", disable_on_destroy=False, opts=site.child())
        for name in names
    ]
