"""Names that must be unique in all of Azure, and ids that Azure wants to be told."""

import hashlib
import uuid

from blueprint.site import Site
from blueprint.spec import Azure


def worldwide(site: Site, own: Azure, longest: int = 24) -> str:
    """Letters and digits only; the same for the same subscription, another one for every other."""
    digest = hashlib.sha256(own.subscription.encode()).hexdigest()[:6]
    short = site.spec.environment[:4]
    return f"{site.spec.name}{short}{digest}"[:longest]


def assignment(*parts: str) -> str:
    """A role assignment's name is a UUID: made of what it says, so that it does not change."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))


def role(own: Azure, identifier: str) -> str:
    return f"/subscriptions/{own.subscription}/providers/Microsoft.Authorization/roleDefinitions/{identifier}"
