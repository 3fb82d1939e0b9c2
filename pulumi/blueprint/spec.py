"""What a team asks for: one validated document, the same for every cloud but for one short section."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from blueprint.errors import PlatformError

CloudName = Literal["gcp", "aws", "azure", "existing"]
Environment = Literal["local", "staging", "production"]
Size = Literal["small", "large"]
Role = Literal["system", "serving", "training", "gpu"]

CLOUDS: tuple[CloudName, ...] = get_args(CloudName)
ENVIRONMENTS: tuple[Environment, ...] = get_args(Environment)
ROLES: tuple[Role, ...] = get_args(Role)
EVERYBODY = ("0.0.0.0/0", "::/0")
REQUIRED_LABELS = ("owner", "cost-center")


class SpecInvalid(PlatformError):
    """The stack file asks for something that does not exist or cannot be."""


class Part(BaseModel):
    """A piece of the document; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_label(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError("use lower case letters, digits and dashes, 63 at most: clouds disagree on everything else")
    return text


def _is_network(text: str) -> str:
    return str(ipaddress.ip_network(text))


Label = Annotated[str, AfterValidator(_is_label)]
Network = Annotated[str, AfterValidator(_is_network)]


class Pool(Part):
    """A group of like nodes. What is not said comes from the size and the cloud."""

    machines: tuple[str, ...] = ()
    min: int = Field(0, ge=0)
    max: int = Field(1, ge=1, le=100)
    spot: bool = False
    disk_gb: int = Field(100, ge=30)

    @model_validator(mode="after")
    def _grows_upwards(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self


class Budget(Part):
    """What a month may cost before somebody gets a mail: at half of it, at 90 % and at all of it."""

    monthly: int = Field(gt=0)
    contact: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    billing_account: str | None = None
    since: str = Field("2026-12-01", pattern=r"^\d{4}-\d{2}-01$")

    @property
    def thresholds(self) -> tuple[float, ...]:
        return (0.5, 0.9, 1.0)


class Gcp(Part):
    """`vertex_secrets`: places in Secret Manager that Vertex AI's pipelines may read; people put the texts there."""

    project: str = Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    vertex: bool = False
    vertex_secrets: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,99}$")], ...] = ()
    gateway_api: bool = False

    @model_validator(mode="after")
    def _somebody_reads_them(self) -> Self:
        if self.vertex_secrets and not self.vertex:
            raise ValueError("vertex_secrets are read by pipelines on Vertex AI: say vertex: true as well")
        twice = sorted({name for name in self.vertex_secrets if self.vertex_secrets.count(name) > 1})
        if twice:
            raise ValueError(f"vertex_secrets names {twice[0]} twice")
        return self


class Aws(Part):
    account: str = Field(pattern=r"^\d{12}$")
    admins: tuple[str, ...] = ()


class Azure(Part):
    subscription: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    tenant: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    admin_groups: tuple[str, ...] = Field(min_length=1)


class Existing(Part):
    """What a cluster that somebody else made already has."""

    context: str | None = None
    registry: str = Field(min_length=1)
    bucket_uri: str = Field(pattern=r"^(s3|gs|wasbs)://[^/]+")
    object_store_endpoint: str = Field("", pattern=r"^(https?://.*)?$")
    storage_class: str = Field(min_length=1)
    identities: dict[str, str] = Field(default_factory=dict)


class PlatformSpec(Part):
    """Everything the program needs to know; read it once, pass it down."""

    cloud: CloudName
    environment: Environment
    name: str = Field("mlops", pattern=r"^[a-z][a-z0-9]{1,9}$")
    size: Size = "large"
    region: str = Field(min_length=1)
    zones: tuple[str, ...] = ()
    labels: dict[Label, Label] = Field(default_factory=dict)
    pools: dict[Role, Pool] = Field(default_factory=dict)
    api_access: tuple[Network, ...] = ()
    deletion_protection: bool | None = None
    budget: Budget | None = None
    kubernetes: str | None = Field(None, pattern=r"^1\.\d+$")
    gcp: Gcp | None = None
    aws: Aws | None = None
    azure: Azure | None = None
    existing: Existing | None = None

    @field_validator("labels")
    @classmethod
    def _say_whose_it_is(cls, labels: dict[str, str]) -> dict[str, str]:
        missing = [key for key in REQUIRED_LABELS if key not in labels]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing: the bill is split by them")
        return labels

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if getattr(self, self.cloud) is None:
            raise ValueError(f"cloud is {self.cloud!r}, so the section {self.cloud!r} is needed")
        strangers = [cloud for cloud in CLOUDS if cloud != self.cloud and getattr(self, cloud) is not None]
        if strangers:
            raise ValueError(f"cloud is {self.cloud!r}, so there can be no section {strangers[0]!r}")
        if self.cloud == "existing":
            return self
        if self.environment == "local":
            raise ValueError(f"the environment 'local' is kind; {self.cloud!r} has staging and production")
        self._check_zones()
        self._check_access()
        if self.cloud == "gcp" and self.budget and not self.budget.billing_account:
            raise ValueError("budget.billing_account is needed on gcp: budgets belong to the billing account there")
        return self

    def _check_zones(self) -> None:
        least = 2 if self.cloud == "aws" else 1
        if len(self.zones) < least:
            raise ValueError(f"zones: {self.cloud} needs {least} or more, for example {self._example_zones(least)}")
        for zone in self.zones:
            good = zone in ("1", "2", "3") if self.cloud == "azure" else zone.startswith(self.region)
            if not good:
                raise ValueError(f"zones: {zone!r} is no zone of {self.region}, for example {self._example_zones(1)}")

    def _example_zones(self, count: int) -> str:
        names = {"gcp": "{}-{}", "aws": "{}{}", "azure": "{2}"}[self.cloud]
        return str([names.format(self.region, letter, i) for i, letter in enumerate("abc"[:count], start=1)])

    def _check_access(self) -> None:
        if self.cloud == "gcp":  # its API server has no address of its own, only Google's, which asks IAM first
            return
        if not self.api_access:
            raise ValueError(
                "api_access: name the networks that may reach the API server, for example ['192.0.2.0/24']"
            )
        if self.environment == "production" and set(self.api_access) & set(EVERYBODY):
            raise ValueError("api_access: production's API server is not for everybody; name the networks")

    @property
    def full_name(self) -> str:
        """The name everything of this platform begins with, such as mlops-staging."""
        return f"{self.name}-{self.environment}"

    @property
    def stack(self) -> str:
        return f"{self.cloud}-{self.environment}"

    @property
    def protected(self) -> bool:
        """Whether what holds data refuses to be deleted. Production does unless the file says no."""
        return self.environment == "production" if self.deletion_protection is None else self.deletion_protection

    @property
    def tags(self) -> dict[str, str]:
        """On everything that can carry them."""
        return {"platform": self.full_name, "environment": self.environment, "managed-by": "pulumi", **self.labels}

    def pool(self, role: Role) -> Pool | None:
        """The pool as asked for, else as the size has it; None where there is none."""
        return self.pools.get(role) or SIZES[self.size].get(role)


Own = TypeVar("Own", Gcp, Aws, Azure, Existing)


def section(spec: PlatformSpec, kind: type[Own]) -> Own:
    """The one section of the document that belongs to its cloud."""
    own = getattr(spec, spec.cloud)
    if not isinstance(own, kind):
        raise SpecInvalid(f"cloud is {spec.cloud!r}, not {kind.__name__.lower()!r}")
    return own


SIZES: Mapping[Size, Mapping[Role, Pool]] = {
    "small": {
        "system": Pool(min=2, max=4),
        "training": Pool(max=2, spot=True),
    },
    "large": {
        "system": Pool(min=3, max=6),
        "serving": Pool(min=2, max=6),
        "training": Pool(max=4, spot=True, disk_gb=200),
    },
}


def read_spec(document: object, where: str) -> PlatformSpec:
    """The document as a spec, or an error that names file, key and what is allowed."""
    if not isinstance(document, Mapping):
        raise SpecInvalid(f"{where}: `platform` must be a mapping", hint="see the stack files in pulumi/")
    try:
        return PlatformSpec.model_validate(document)
    except ValidationError as error:
        lines = [f"{where}: {_explain(dict(problem))}" for problem in error.errors(include_url=False)]
        raise SpecInvalid("\n".join(lines), hint="docs/cloud.md lists the keys") from None


def _explain(problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    key = ".".join(["platform", *location])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: no such key"
        case "missing":
            return f"{key} is missing"
        case "literal_error":
            return f"{key}: {problem['input']!r} is not allowed; allowed: {problem['ctx']['expected']}"
        case "string_pattern_mismatch":
            return f"{key}: {problem['input']!r} does not look right; wanted: {problem['ctx']['pattern']}"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}"
    return f"{key}: {problem['msg']}, not {problem['input']!r}"
