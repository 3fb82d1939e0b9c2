"""What `pulumi up` does: read the spec, build one cloud, let Flux take over."""

from importlib import import_module
from pathlib import Path

import pulumi

from blueprint import flux
from blueprint.contract import Platform
from blueprint.spec import PlatformSpec, read_spec

ROOT = Path(__file__).parents[2]


def run(root: Path = ROOT) -> Platform:
    """The whole program, from the stack's config to its outputs."""
    config = pulumi.Config()
    spec = read_spec(config.require_object("platform"), f"Pulumi.{pulumi.get_stack()}.yaml")
    platform = build(spec)
    flux.hand_over(platform, flux.read_instance(root, spec.environment), flux.Secrets.from_config(config))
    for name, value in platform.outputs().items():
        pulumi.export(name, value)
    return platform


def build(spec: PlatformSpec) -> Platform:
    """Only the chosen cloud's SDK is imported: each of them is large."""
    platform = import_module(f"blueprint.{spec.cloud}").build(spec)
    assert isinstance(platform, Platform)  # noqa: S101 - modules are found by name
    return platform
