"""Where a cloud's resources are put: below one component, with the options that the spec asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import pulumi

from blueprint.spec import PlatformSpec


@dataclass(frozen=True)
class Site:
    """The spec and the component that all resources of a platform are children of."""

    spec: PlatformSpec
    component: pulumi.ComponentResource
    first: tuple[pulumi.Resource, ...] = ()

    @classmethod
    def open(cls, spec: PlatformSpec, provider: pulumi.ProviderResource | None) -> Self:
        kind = f"mlops-blueprint:platform:{spec.cloud.capitalize()}"
        options = pulumi.ResourceOptions(providers=[provider] if provider else [])
        return cls(spec, pulumi.ComponentResource(kind, spec.full_name, None, options))

    def after(self, first: Sequence[pulumi.Resource]) -> Self:
        """The same site, where everything waits for these."""
        return replace(self, first=tuple(first))

    @property
    def name(self) -> str:
        return self.spec.full_name

    @property
    def tags(self) -> dict[str, str]:
        return self.spec.tags

    def child(
        self, *, holds_data: bool = False, after: Sequence[pulumi.Resource] = (), ignore: Sequence[str] = ()
    ) -> pulumi.ResourceOptions:
        """Options of a resource. What holds data is protected where the spec protects."""
        return pulumi.ResourceOptions(
            parent=self.component,
            protect=holds_data and self.spec.protected,
            depends_on=list(after) or list(self.first),
            ignore_changes=list(ignore),
        )

    def invoke(self, *, after: Sequence[pulumi.Resource] = ()) -> pulumi.InvokeOutputOptions:
        """Options of a question to the cloud."""
        return pulumi.InvokeOutputOptions(parent=self.component, depends_on=list(after) or list(self.first))
