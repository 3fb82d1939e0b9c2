"""The whole program without a cloud, a credential or an engine: what it would ask for, resource by resource.

Pulumi's mocks stand in for the engine. Values that only a cloud knows are placeholders such as <cluster.endpoint>.
"""

import contextvars
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks, set_mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.rpc import UNKNOWN, _special_secret_sig, _special_sig_key

from blueprint import program, simulation
from blueprint.errors import PlatformError

PROJECT = "mlops-blueprint"
FOLDER = Path(__file__).parents[1]
SECRET = "<secret>"  # noqa: S105 - stands for one
NOT_YET = "<known after apply>"
PRETENDED = {"gitToken": "pretended-git-token", "ageKey": "AGE-SECRET-KEY-PRETENDED", "kubeconfig": "{}"}


class StackMissing(PlatformError):
    """There is no stack file of that name."""


@dataclass(frozen=True)
class Options:
    """What the program asks of the engine beside the properties."""

    protect: bool = False
    retain_on_delete: bool = False
    ignore_changes: tuple[str, ...] = ()
    deleted_with: str = ""
    waits_for: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resource:
    """One resource as the engine would get it. `inputs` has placeholders for secrets, `revealed` has their text."""

    urn: str
    type: str
    name: str
    parent: str
    custom: bool
    inputs: Mapping[str, Any]
    revealed: Mapping[str, Any]
    options: Options = field(default_factory=Options)

    @property
    def label(self) -> str:
        return f"{self.type} {self.name}"


@dataclass(frozen=True)
class Rehearsal:
    """All that the program did."""

    stack: str
    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]

    def of_type(self, end: str) -> list[Resource]:
        """The resources whose type ends so, such as `:Bucket`."""
        return [resource for resource in self.resources if resource.type.endswith(end)]

    def one(self, end: str, name: str | None = None) -> Resource:
        found = [resource for resource in self.of_type(end) if name in (None, resource.name)]
        assert len(found) == 1, f"{len(found)} resources {end} {name or ''}"  # noqa: S101 - a helper of tests
        return found[0]


def read_stack(stack: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The config of a stack file. Encrypted values stay with those who have the key: others take their place."""
    path = folder / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        known = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))
        raise StackMissing(f"there is no {path.name}", hint=f"stacks: {', '.join(known)}")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))["config"]
    return {key.removeprefix(f"{PROJECT}:"): value for key, value in config.items() if not _is_encrypted(value)}


def _is_encrypted(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}


def rehearse(
    stack: str, config: Mapping[str, Any] | None = None, *, root: Path = program.ROOT, unknown: bool = False
) -> Rehearsal:
    """Run the program as `pulumi up` would, or with `unknown` as `pulumi preview` would before the first `up`."""
    given = {**PRETENDED, **(read_stack(stack) if config is None else config)}
    settings = {key: value for key, value in given.items() if value is not None}
    return contextvars.copy_context().run(_rehearse, stack, settings, root, unknown)


def _rehearse(stack: str, settings: Mapping[str, Any], root: Path, unknown: bool) -> Rehearsal:
    recorder = Recorder(simulation.Cloud(unknown=unknown))
    pulumi.runtime.settings.ROOT.set(None)
    set_mocks(recorder.mocks, project=PROJECT, stack=stack, preview=unknown, monitor=recorder)
    texts = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()
    }
    set_all_config(texts, [f"{PROJECT}:{key}" for key in PRETENDED])

    def perform() -> None:
        program.run(root)
        stack_resource = pulumi.runtime.get_root_resource()
        assert isinstance(stack_resource, pulumi.runtime.stack.Stack)  # noqa: S101
        stack_resource.register_outputs(stack_resource.outputs)

    mocks.test(perform)()  # type: ignore[no-untyped-call]
    return Rehearsal(stack, tuple(recorder.recorded), recorder.outputs)


class Recorder(mocks.MockMonitor):
    """Writes down every request to register a resource, whole: mocks alone see neither parents nor options."""

    def __init__(self, cloud: simulation.Cloud) -> None:
        super().__init__(cloud)
        self.recorded: list[Resource] = []
        self.outputs: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the engine's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self.recorded.append(
                Resource(
                    urn=response.urn,
                    type=request.type,
                    name=request.name,
                    parent=request.parent,
                    custom=request.custom,
                    inputs=plain(request.object),
                    revealed=plain(request.object, reveal=True),
                    options=Options(
                        protect=request.protect,
                        retain_on_delete=request.retainOnDelete,
                        ignore_changes=tuple(request.ignoreChanges),
                        deleted_with=request.deletedWith,
                        waits_for=frozenset(request.dependencies),
                    ),
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the engine's name
        if "pulumi:pulumi:Stack" in request.urn:
            self.outputs = plain(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def plain(message: Any, *, reveal: bool = False) -> Any:
    """A protobuf value as plain data, in which secrets and what is not known yet are placeholders."""
    match message.DESCRIPTOR.name:
        case "Struct":
            return _plain_struct(message.fields, reveal)
        case "ListValue":
            return [plain(value, reveal=reveal) for value in message.values]
    chosen = message.WhichOneof("kind")
    value = getattr(message, chosen)
    match chosen:
        case "struct_value" | "list_value":
            value = plain(value, reveal=reveal)
        case "number_value":
            value = int(value) if value.is_integer() else value
        case "null_value":
            value = None
    return NOT_YET if value == UNKNOWN else value


def _plain_struct(fields: Any, reveal: bool) -> Any:
    if _special_sig_key in fields and fields[_special_sig_key].string_value == _special_secret_sig:
        return plain(fields["value"], reveal=reveal) if reveal else SECRET
    return {key: plain(fields[key], reveal=reveal) for key in sorted(fields)}
