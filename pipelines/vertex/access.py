"""How requests to Google Cloud are signed: by google-auth's default login, or by a token that is given.

    MLOPS_VERTEX_TOKEN              an access token, as `gcloud auth print-access-token` prints it
    GOOGLE_APPLICATION_CREDENTIALS  a file of google-auth: workload identity federation, a user's login, a key

Without either, google-auth looks for gcloud's login and for the machine's own service account. No token is written
anywhere, and none is sent over plain HTTP except to loopback.
"""

import os
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from pipelines.errors import MlopsError
from pipelines.vertex.errors import VertexLoginMissing, VertexLoginRefused

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

TokenSource = Callable[[], str]


class PlainAddress(MlopsError):
    """A token would be sent where others can read it."""


def token_source(environ: Mapping[str, str] | None = None) -> TokenSource:
    """A function that gives a valid token each time. Raises VertexLoginMissing when first asked, not before."""
    env = os.environ if environ is None else environ
    if given := env.get("MLOPS_VERTEX_TOKEN"):
        return lambda: given
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
                f"no login to Google Cloud: {_first_line(error)}",
                hint="`gcloud auth application-default login`, or in GitHub Actions google-github-actions/auth",
            ) from None
        except GoogleAuthError as error:
            raise VertexLoginRefused(
                f"the login to Google Cloud could not be renewed: {_first_line(error)}",
                hint="log in again: `gcloud auth application-default login`",
            ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
