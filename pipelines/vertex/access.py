"""How requests to Google Cloud are signed: by google-auth's default login, or by a token that is given.

Without MLOPS_VERTEX_TOKEN, google-auth looks for a file of GOOGLE_APPLICATION_CREDENTIALS (workload identity
federation, a user's login, a key), for gcloud's login and for the machine's own service account. No token is written
anywhere, and none is sent over plain HTTP except to loopback.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from pipelines.errors import MlopsError, one_line
from pipelines.variables import Variables, variable
from pipelines.vertex.errors import VertexLoginMissing, VertexLoginRefused

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

TokenSource = Callable[[], str]


class PlainAddress(MlopsError):
    """A token would be sent where others can read it."""


class VertexVariables(Variables):
    """Read by what talks to Vertex AI, and by each step that runs there."""

    title: ClassVar[str] = "Vertex AI"

    token: SecretStr | None = variable(
        "MLOPS_VERTEX_TOKEN",
        None,
        "An access token, as `gcloud auth print-access-token` prints it.",
        shown="google-auth's default login",
    )
    api: str = variable(
        "MLOPS_VERTEX_API", "", "Another address of its API, such as a private endpoint's.", shown="the region's own"
    )
    secrets_api: str = variable(
        "MLOPS_VERTEX_SECRETS_API",
        "https://secretmanager.googleapis.com",
        "Secret Manager's address, which steps fetch their secrets from.",
    )


def token_source(environ: Mapping[str, str] | None = None) -> TokenSource:
    """A function that gives a valid token each time. Raises VertexLoginMissing when first asked, not before."""
    if given := VertexVariables.load(environ).token:
        return given.get_secret_value
    return _Default().token


def require_safe(address: str) -> None:
    """Raises PlainAddress."""
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise PlainAddress(f"no token is sent to {address} over {parts.scheme or 'nothing'}", hint="use https://")


class _Default:
    """google-auth's default login; loaded at the first request, renewed when it runs out."""

    def __init__(self) -> None:
        self._login: object | None = None

    def token(self) -> str:
        try:
            import google.auth
            from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
            from google.auth.transport.requests import Request
        except ImportError:
            raise VertexLoginMissing(
                "google-auth is not installed", hint="pip install 'mlops-blueprint[vertex]'"
            ) from None
        try:
            if self._login is None:
                self._login, _ = google.auth.default(scopes=[SCOPE])
            if not self._login.valid:  # type: ignore[attr-defined]
                self._login.refresh(Request())  # type: ignore[attr-defined]
            return str(self._login.token)  # type: ignore[attr-defined]
        except DefaultCredentialsError as error:
            raise VertexLoginMissing(
                f"no login to Google Cloud: {one_line(error)}",
                hint="`gcloud auth application-default login`, or in GitHub Actions google-github-actions/auth",
            ) from None
        except GoogleAuthError as error:
            raise VertexLoginRefused(
                f"the login to Google Cloud could not be renewed: {one_line(error)}",
                hint="log in again: `gcloud auth application-default login`",
            ) from None
