"""A registry's refusals and a connection's troubles as errors that say what to do."""

import re
import ssl

import httpx

from pipelines.errors import one_line
from pipelines.packaging.oci.errors import (
    CertificateRefused,
    ImageRepositoryMissing,
    NotAllowed,
    RegistryAway,
    RegistryError,
    RegistryFull,
    RegistryReadOnly,
    TransferInterrupted,
    UnexpectedAnswer,
    WrongScheme,
)

NO_ROOM = re.compile(r"no space left|quota|\"Err\": ?28\b|disk.*full|storage.*exceed", re.IGNORECASE)
PLAIN_TO_TLS = "HTTP request to an HTTPS server"


def refusal(what: str, answer: httpx.Response) -> RegistryError:
    """The error for an answer that was not hoped for; `what` says what was tried, with the registry's name."""
    status, text = answer.status_code, answer.text[:2000]
    said = f"{what}: the registry answers {status}{_message(answer)}"
    error, hint = _meaning(status, text)
    return error(said, hint=hint)


def _meaning(status: int, text: str) -> tuple[type[RegistryError], str | None]:
    found: tuple[type[RegistryError], str | None] = UnexpectedAnswer, None
    if status in {413, 507} or NO_ROOM.search(text):
        found = RegistryFull, "free space or raise the quota there; what was uploaded so far is dropped"
    elif status in {405, 501}:
        found = RegistryReadOnly, "it is read-only, perhaps for maintenance; run this again afterwards"
    elif status == httpx.codes.FORBIDDEN:
        found = NotAllowed, "this login needs the right to push to the repository, and to pull the base"
    elif status == httpx.codes.NOT_FOUND:
        found = ImageRepositoryMissing, "create the repository first; some registries do not make one by themselves"
    elif status == httpx.codes.BAD_REQUEST and PLAIN_TO_TLS in text:
        found = WrongScheme, "it speaks TLS; take it out of MLOPS_PLAIN_REGISTRIES, or do not name it as loopback"
    elif status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        found = RegistryAway, "try again later; if it stays so, the registry's own log says why"
    return found


def trouble(what: str, host: str, error: httpx.TransportError) -> RegistryError:
    """The error for a connection that could not be made, or that broke."""
    reason = one_line(error)
    if isinstance(error, httpx.ConnectError):
        cause = _ssl_cause(error)
        if cause is not None and ("CERTIFICATE_VERIFY_FAILED" in reason or isinstance(cause, ssl.CertificateError)):
            return CertificateRefused(
                f"{what}: the certificate of {host} is not trusted here: {reason}",
                hint="set SSL_CERT_FILE to a bundle with your certificate authority",
            )
        if cause is not None:
            return WrongScheme(
                f"{what}: {host} does not speak TLS: {reason}",
                hint=f"if it speaks plain HTTP and you trust the way there: MLOPS_PLAIN_REGISTRIES={host}",
            )
        return RegistryAway(f"{what}: {host} cannot be reached: {reason}", hint="is it up, and is its name right?")
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return RegistryAway(f"{what}: {host} cannot be reached in time", hint="is it up, and is its name right?")
    return TransferInterrupted(f"{what}: the connection to {host} broke: {reason}", hint="run this again")


def _message(answer: httpx.Response) -> str:
    """What the registry says of it, in the form that the registry API gives errors."""
    try:
        told = "; ".join(_sentence(error) for error in answer.json().get("errors") or [])
    except (ValueError, AttributeError, TypeError):
        told = ""
    return f" ({told[:500]})" if told else ""


def _sentence(error: dict[str, object]) -> str:
    detail = error.get("detail")
    parts = (error.get("code"), error.get("message"), detail if isinstance(detail, str) else None)
    return " ".join(str(part) for part in parts if part)


def _ssl_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
