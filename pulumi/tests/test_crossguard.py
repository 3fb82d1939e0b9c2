"""The policy pack as the engine uses it: a process of its own, asked over gRPC."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from blueprint.policies import RULES
from tests.clouds import rehearsal

PACK = Path(__file__).parents[1] / "policy"


@pytest.fixture(scope="module")
def analyzer() -> Iterator[Any]:
    command = [sys.executable, "-u", str(PACK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PACK) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
        process.terminate()


def ask(analyzer: Any, stack: str, kind: str, name: str, **changes: object) -> list[str]:
    resource = rehearsal(stack).one(kind, name)
    properties = struct_pb2.Struct()
    properties.update(dict(resource.revealed) | changes)
    request = analyzer_pb2.AnalyzeRequest(
        type=resource.type,
        urn=resource.urn,
        name=name,
        properties=properties,
        options=analyzer_pb2.AnalyzerResourceOptions(),
    )
    answer = analyzer.Analyze(request, timeout=30)
    mandatory = analyzer_pb2.EnforcementLevel.Value("MANDATORY")
    assert all(found.enforcementLevel == mandatory for found in answer.diagnostics)
    return [f"{found.policyName}: {found.message}" for found in answer.diagnostics]


def test_the_pack_has_every_rule(analyzer):
    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty(), timeout=30)
    assert info.name == "mlops-blueprint"
    assert {policy.name for policy in info.policies} == {rule.name for rule in RULES}


@pytest.mark.parametrize(
    ("stack", "kind", "name"),
    [
        ("gcp-production", "bucket:Bucket", "artifacts"),
        ("aws-production", ":RolePolicy", "pipelines"),
        ("azure-production", ":StorageAccount", "artifacts"),
    ],
)
def test_what_we_make_passes(analyzer, stack, kind, name):
    assert ask(analyzer, stack, kind, name) == []


def test_a_public_bucket_stops_the_update(analyzer):
    (found,) = ask(analyzer, "gcp-production", "bucket:Bucket", "artifacts", publicAccessPrevention="inherited")
    assert found.startswith("private-data: ")
    assert "publicAccessPrevention is 'inherited', must be 'enforced'" in found
