"""Nothing is applied before what it needs: namespaces, and the kinds that operators bring."""

from pipelines.gitops.charts import chart_of
from pipelines.gitops.core import is_core
from pipelines.gitops.findings import TreeReport
from pipelines.gitops.flux import SYSTEM, Applied, Cluster, group_of, namespace_of, title
from pipelines.gitops.kustomize import Manifest
from pipelines.gitops.order import Order
from pipelines.gitops.tree import Tree

NAMESPACES = {"default", "kube-system", "kube-public", SYSTEM}
CHARTS = {
    "argo-workflows": ["argoproj.io"],
    "cert-manager": ["cert-manager.io", "acme.cert-manager.io"],
    "cloudnative-pg": ["postgresql.cnpg.io"],
    "external-secrets": ["external-secrets.io", "generators.external-secrets.io"],
    "flagger": ["flagger.app"],
    "gateway-helm": ["gateway.networking.k8s.io", "gateway.envoyproxy.io"],
    "keda": ["keda.sh"],
    "kube-prometheus-stack": ["monitoring.coreos.com"],
    "plugin-barman-cloud": ["barmancloud.cnpg.io"],
}
"""Which chart brings the kinds of which groups."""
FOLDERS = {
    "manifests/kustomize/base/crds": ["pipelines.kubeflow.org"],
    "manifests/kustomize/base/pipeline/cluster-scoped": ["kubeflow.org"],
}
"""The same for folders of other projects' repositories."""
CLUSTER_WIDE = {
    # Kubernetes itself
    "APIService", "CSIDriver", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass",
    "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration", "Namespace", "Node",
    "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttributesClass",
    # the operators
    "ClusterCloudEventSource", "ClusterExternalSecret", "ClusterImageCatalog", "ClusterIssuer", "ClusterPushSecret",
    "ClusterSecretStore", "ClusterTriggerAuthentication", "ClusterWorkflowTemplate", "GatewayClass",
}  # fmt: skip
"""Kinds that are in no namespace; all others are."""


def check(tree: Tree, report: TreeReport) -> None:
    for cluster in tree.clusters:
        order = Order(cluster)
        makers = {
            manifest["metadata"]["name"]: applied.name
            for applied, manifest in cluster.objects()
            if manifest.get("kind") == "Namespace"
        }
        bringers = _bringers(cluster)
        for applied, manifest in cluster.objects():
            for problem in (*_namespace(applied, manifest, makers, order), *_kind(applied, manifest, bringers, order)):
                report.find(tree.place(cluster, applied, manifest), f"{title(manifest)}: {problem}")
        _waits(tree, cluster, report)


def _namespace(applied: Applied, manifest: Manifest, makers: dict[str, str], order: Order) -> list[str]:
    namespace = namespace_of(manifest)
    if not namespace and manifest.get("kind") not in CLUSTER_WIDE and not applied.spec.get("targetNamespace"):
        return ["metadata.namespace is missing, and Flux applies nothing that has none"]
    if not namespace or namespace in NAMESPACES:
        return []
    maker = makers.get(namespace)
    if maker is None:
        return [f"no Namespace {namespace} is declared anywhere"]
    if maker not in order.there(applied.name):
        return [f"its namespace is made by {maker}, which {applied.name} does not wait for"]
    return []


def _bringers(cluster: Cluster) -> dict[str, set[str]]:
    """Group → the Kustomizations that bring its kinds to this cluster."""
    found: dict[str, set[str]] = {}
    for applied, manifest in cluster.objects():
        groups: list[str] = []
        if manifest.get("kind") == "HelmRelease":
            chart = chart_of(cluster, manifest)
            groups = CHARTS.get(chart.name, []) if chart else []
        elif manifest.get("kind") == "CustomResourceDefinition":
            groups = [manifest["spec"]["group"]]
        for group in groups:
            found.setdefault(group, set()).add(applied.name)
    for applied in cluster.applied:
        for group in FOLDERS.get(str(applied.spec.get("path", "")).removeprefix("./").rstrip("/"), []):
            found.setdefault(group, set()).add(applied.name)
    return found


def _kind(applied: Applied, manifest: Manifest, bringers: dict[str, set[str]], order: Order) -> list[str]:
    group = group_of(manifest)
    if is_core(manifest) or group.endswith("toolkit.fluxcd.io") or group == "fluxcd.controlplane.io":
        return []
    found = bringers.get(group)
    if not found:
        known = [chart for chart, groups in CHARTS.items() if group in groups]
        how = f"chart {known[0]} would" if known else "if a chart does, pipelines/gitops/checks/order.py has to know it"
        return [f"nothing in this cluster brings the kinds of {group}; {how}"]
    if not found & order.ready(applied.name):
        return [f"the kinds of {group} come with {', '.join(sorted(found))}, which {applied.name} does not wait for"]
    return []


def _waits(tree: Tree, cluster: Cluster, report: TreeReport) -> None:
    """`dependsOn` waits until something is ready, and without `wait` it is as soon as it is applied."""
    needed = {need for applied in cluster.applied for need in applied.needs}
    for applied in cluster.applied:
        spec = applied.spec
        if applied.name in needed and not spec.get("wait") and not spec.get("healthChecks"):
            where = tree.place(cluster, applied, applied.kustomization)
            report.find(where, f"{title(applied.kustomization)}: others depend on it, but spec.wait is not true")
