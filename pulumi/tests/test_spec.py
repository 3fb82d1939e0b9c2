"""What a stack file may say, and what its reader hears when it says something else."""

import pytest

from blueprint.rehearsal import StackMissing, read_stack
from blueprint.spec import PlatformSpec, Pool, SpecInvalid, read_spec
from tests.clouds import STACKS, document


def read(stack: str, **changes: object) -> PlatformSpec:
    platform = document(stack) | changes
    return read_spec({key: value for key, value in platform.items() if value is not ...}, f"Pulumi.{stack}.yaml")


@pytest.mark.parametrize("stack", STACKS)
def test_the_example_stacks_are_what_their_names_say(stack):
    assert read(stack).stack == stack


@pytest.mark.parametrize(
    ("stack", "changes", "message"),
    [
        ("gcp-staging", {"cloud": "ibm"}, "platform.cloud: 'ibm' is not allowed; allowed: 'gcp', 'aws', 'azure' or"),
        ("gcp-staging", {"regoin": "x"}, "platform.regoin: no such key"),
        ("gcp-staging", {"region": ...}, "platform.region is missing"),
        ("gcp-staging", {"gcp": ...}, "cloud is 'gcp', so the section 'gcp' is needed"),
        ("gcp-staging", {"aws": {"account": "123456789012"}}, "cloud is 'gcp', so there can be no section 'aws'"),
        ("gcp-staging", {"gcp": {"project": "X"}}, "platform.gcp.project: 'X' does not look right"),
        ("gcp-staging", {"zones": []}, "zones: gcp needs 1 or more, for example ['europe-west4-a']"),
        ("gcp-staging", {"zones": ["europe-west1-b"]}, "zones: 'europe-west1-b' is no zone of europe-west4"),
        ("gcp-staging", {"environment": "local"}, "the environment 'local' is kind"),
        ("gcp-staging", {"labels": {"owner": "me"}}, "platform.labels: cost-center missing"),
        ("gcp-staging", {"labels": {"owner": "Me!", "cost-center": "1"}}, "platform.labels.owner: use lower case"),
        ("gcp-staging", {"pools": {"system": {"min": 5, "max": 2}}}, "platform.pools.system: min 5 is more than max 2"),
        ("gcp-staging", {"pools": {"tpu": {}}}, "platform.pools.tpu: 'tpu' is not allowed; allowed: 'system',"),
        ("gcp-staging", {"budget": {"monthly": 5, "contact": "a@b.c"}}, "budget.billing_account is needed on gcp"),
        ("gcp-staging", {"name": "a-very-long-name"}, "platform.name: 'a-very-long-name' does not look right"),
        (
            "gcp-staging",
            {"gcp": {"project": "example-ml", "vertex_secrets": ["release-token"]}},
            "platform.gcp: vertex_secrets are read by pipelines on Vertex AI: say vertex: true as well",
        ),
        (
            "gcp-staging",
            {"gcp": {"project": "example-ml", "vertex": True, "vertex_secrets": ["token", "token"]}},
            "platform.gcp: vertex_secrets names token twice",
        ),
        ("aws-staging", {"zones": ["eu-central-1a"]}, "zones: aws needs 2 or more"),
        ("aws-staging", {"api_access": []}, "api_access: name the networks that may reach the API server"),
        ("aws-staging", {"api_access": ["10.0.0.1/8"]}, "platform.api_access.0: 10.0.0.1/8 has host bits set"),
        ("aws-production", {"api_access": ["0.0.0.0/0"]}, "api_access: production's API server is not for everybody"),
        (
            "azure-staging",
            {"zones": ["westeurope-1"]},
            "zones: 'westeurope-1' is no zone of westeurope, for example ['1']",
        ),
        ("existing-staging", {"existing": {"registry": "r"}}, "platform.existing.bucket_uri is missing"),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_key(stack, changes, message):
    with pytest.raises(SpecInvalid) as refused:
        read(stack, **changes)
    assert f"Pulumi.{stack}.yaml: " in refused.value.message
    assert message in refused.value.message


def test_every_fault_is_told_at_once():
    with pytest.raises(SpecInvalid) as refused:
        read("gcp-staging", region=..., size="huge", regoin="x")
    assert len(refused.value.message.splitlines()) == 3


def test_a_number_where_a_mapping_belongs():
    with pytest.raises(SpecInvalid, match="`platform` must be a mapping"):
        read_spec(5, "Pulumi.x.yaml")


def test_production_is_protected_unless_it_says_otherwise():
    assert read("gcp-production").protected
    assert not read("gcp-staging").protected
    assert read("gcp-staging", deletion_protection=True).protected
    assert not read("gcp-production", deletion_protection=False).protected


def test_a_pool_that_is_named_wins_over_its_size():
    spec = read("gcp-staging", pools={"system": {"min": 3, "max": 3}})
    assert spec.pool("system") == Pool(min=3, max=3)
    assert spec.pool("training") == Pool(max=2, spot=True)
    assert spec.pool("gpu") is None


def test_a_stack_without_a_file_names_those_that_have_one():
    with pytest.raises(StackMissing) as missing:
        read_stack("gcp-moon")
    assert "there is no Pulumi.gcp-moon.yaml" in str(missing.value)
    assert "gcp-staging" in str(missing.value)


def test_encrypted_values_of_a_stack_file_are_left_alone(tmp_path):
    (tmp_path / "Pulumi.x.yaml").write_text(
        "config:\n  mlops-blueprint:gitToken:\n    secure: v1:abc\n  mlops-blueprint:a: b\n"
    )
    assert read_stack("x", tmp_path) == {"a": "b"}
