"""Flux takes over: what Pulumi plants, what it keeps, and that going on with it never makes anything anew."""

import shutil

import pytest
import yaml

from blueprint import flux
from blueprint import rehearsal as rehearsal_module
from blueprint.rehearsal import SECRET, rehearse
from blueprint.snapshots import TREE
from tests.clouds import BUILT, REPOSITORY, STACKS, document, rehearsal


@pytest.mark.parametrize("stack", STACKS)
def test_flux_gets_what_git_must_not_hold(stack):
    done = rehearsal(stack)
    age, git = (done.one(":Secret", name) for name in ("sops-age", "git-credentials"))
    assert age.inputs["stringData"] == SECRET
    assert list(age.revealed["stringData"]) == ["age.agekey"]
    assert git.revealed["stringData"] == {"username": "git", "password": "pretended-git-token"}
    variables = done.one(":ConfigMap").inputs["metadata"]
    assert variables["labels"] == {"reconcile.fluxcd.io/watch": "Enabled"}
    assert variables["namespace"] == "flux-system"


def test_the_secret_has_the_name_that_the_flux_instance_looks_for(tmp_path):
    shutil.copytree(TREE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "clusters" / "staging" / "flux-instance.yaml"
    path.write_text(path.read_text().replace("pullSecret: git-credentials", "pullSecret: other"))
    assert rehearse("existing-staging", root=tmp_path).one(":Secret", "other")


@pytest.mark.parametrize("missing", ["gitToken", "ageKey"])
def test_a_public_repository_needs_no_token_and_a_tree_without_secrets_no_key(missing, monkeypatch):
    monkeypatch.delitem(rehearsal_module.PRETENDED, missing)
    names = {resource.name for resource in rehearse("existing-staging", root=TREE).of_type(":Secret")}
    assert names == {"sops-age" if missing == "gitToken" else "git-credentials"}


@pytest.mark.parametrize("stack", STACKS)
def test_the_operator_comes_before_the_instance_and_both_after_their_secrets(stack):
    done = rehearsal(stack)
    operator, instance = done.one(":Release", "flux-operator"), done.one(":Release", "flux-instance")
    before = {done.one(":ConfigMap").urn, *(secret.urn for secret in done.of_type("core/v1:Secret"))}
    assert before <= operator.options.waits_for
    assert operator.urn in instance.options.waits_for


@pytest.mark.parametrize("stack", BUILT)
def test_nothing_is_planted_before_there_are_nodes(stack):
    done = rehearsal(stack)
    pools = {pool.urn for pool in done.resources if pool.type.endswith((":NodePool", ":AgentPool"))}
    waits = done.one(":Release", "flux-operator").options.waits_for
    assert pools <= waits if pools else any("ManagedCluster" in urn for urn in waits)


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_planted_is_what_git_declares(stack):
    declared = yaml.safe_load((TREE / "clusters" / stack.split("-")[1] / "flux-instance.yaml").read_text())
    release = rehearsal(stack).one(":Release", "flux-instance")
    distribution = {"artifact": ""} | declared["spec"]["distribution"]
    assert release.inputs["values"] == {"instance": declared["spec"] | {"distribution": distribution}}
    assert release.inputs["name"] == declared["metadata"]["name"]
    assert release.inputs["namespace"] == declared["metadata"]["namespace"]


def test_once_git_has_moved_on_an_update_changes_nothing_that_is_flux_own(tmp_path, monkeypatch):
    """Adoption without recreation: a month later Flux has upgraded itself, and somebody runs `pulumi up` again."""
    before = {release.name: release for release in rehearsal("gcp-staging").of_type(":Release")}
    shutil.copytree(TREE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "clusters" / "staging" / "flux-instance.yaml"
    path.write_text(path.read_text().replace("2.9.x", "2.10.x").replace("refs/heads/main", "refs/heads/other"))
    monkeypatch.setattr(flux, "VERSION", "0.99.0")

    after = {release.name: release for release in rehearse("gcp-staging", root=tmp_path).of_type(":Release")}

    for name, release in after.items():
        was = before[name]
        different = {key for key in {*was.inputs, *release.inputs} if was.inputs.get(key) != release.inputs.get(key)}
        assert different, "nothing differs: this test would not notice anything"
        assert different <= set(release.options.ignore_changes)
        assert release.urn == was.urn


@pytest.mark.parametrize("stack", STACKS)
def test_taking_it_out_of_the_program_does_not_take_flux_out_of_the_cluster(stack):
    done = rehearsal(stack)
    planted = [*done.of_type(":Release"), done.one(":Namespace")]
    assert all(resource.options.retain_on_delete for resource in planted)
    kept = [done.one(":ConfigMap"), *done.of_type(":Secret")]
    assert not any(resource.options.retain_on_delete for resource in kept)


@pytest.mark.parametrize("stack", BUILT)
def test_with_the_cluster_goes_all_that_is_in_it(stack):
    done = rehearsal(stack)
    inside = [resource for resource in done.resources if resource.type.startswith("kubernetes:")]
    assert {resource.options.deleted_with for resource in inside} == {
        next(
            r.urn
            for r in done.resources
            if r.name == "cluster" and r.type.endswith(("cluster:Cluster", ":ManagedCluster"))
        )
    }


def test_an_environment_that_git_does_not_have(tmp_path):
    with pytest.raises(flux.FluxInstanceMissing, match=r"clusters/staging/flux-instance.yaml does not exist"):
        rehearse("existing-staging", root=tmp_path)


def test_a_file_that_declares_something_else(tmp_path):
    folder = tmp_path / "clusters" / "staging"
    folder.mkdir(parents=True)
    (folder / "flux-instance.yaml").write_text("kind: ConfigMap\n")
    with pytest.raises(flux.FluxInstanceMissing, match="declares no FluxInstance"):
        rehearse("existing-staging", {"platform": document("existing-staging")}, root=tmp_path)


def test_the_operator_that_git_declares_is_the_release_that_was_planted():
    found = list((REPOSITORY / "infrastructure").glob("controllers/flux-operator/release.yaml"))
    if not found:
        pytest.skip("infrastructure/controllers/flux-operator is not there yet")
    declared = yaml.safe_load(found[0].read_text())
    planted = rehearsal("gcp-staging").one(":Release", "flux-operator").inputs
    name = declared["spec"].get("releaseName", declared["metadata"]["name"])
    assert (name, declared["metadata"]["namespace"]) == (planted["name"], planted["namespace"])
    assert declared["spec"].get("targetNamespace", planted["namespace"]) == planted["namespace"]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_repository_own_flux_instances_can_be_planted(environment):
    if not (REPOSITORY / "clusters" / environment / "flux-instance.yaml").is_file():
        pytest.skip(f"clusters/{environment}/flux-instance.yaml is not there yet")
    release = rehearse(f"existing-{environment}").one(":Release", "flux-instance")
    assert release.inputs["values"]["instance"]["sync"]["path"].strip("./") == f"clusters/{environment}"


def test_what_is_planted_is_what_flux_would_upgrade_to():
    source = REPOSITORY / "infrastructure" / "controllers" / "flux-operator" / "source.yaml"
    if not source.is_file():
        pytest.skip("infrastructure/controllers/flux-operator is not there yet")
    declared = yaml.safe_load(source.read_text())["spec"]
    assert declared["ref"]["tag"] == flux.VERSION
    assert declared["url"] == f"{flux.CHARTS}/flux-operator"
