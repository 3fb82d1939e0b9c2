"""How a registry's 401 is answered: with Basic, or with a token from the place that it names."""

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import httpx

from pipelines.packaging.oci.credentials import Credentials
from pipelines.packaging.oci.errors import LoginWanted, RegistryAway, RegistryLoginRefused, UnexpectedAnswer

CLIENT_ID = "mlops-blueprint"
PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Login:
    """The Authorization header for one registry and the repositories that are to be used there."""

    def __init__(
        self, host: str, scheme: str, lookup: Callable[[str], Credentials | None], scopes: Sequence[str]
    ) -> None:
        self.host = host
        self.scheme = scheme
        self.scopes = tuple(scopes)
        self.header: str | None = None
        self._lookup = lookup

    def answer(self, client: httpx.Client, refusal: httpx.Response) -> None:
        """Get a (new) header for a refused request. Raises LoginWanted or LoginRefused when there is none to get."""
        challenges = refusal.headers.get_list("www-authenticate")
        credentials = self._lookup(self.host)
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                self.header = f"Bearer {self._token(client, dict(PARAMETER.findall(rest)), credentials)}"
                return
        for challenge in challenges:
            if challenge.lower().startswith("basic") and credentials is not None and credentials.username:
                self.header = f"Basic {credentials.basic}"
                return
        raise self.refused(credentials)

    def refused(self, credentials: Credentials | None = None) -> LoginWanted | RegistryLoginRefused:
        """The error for a registry that still says 401."""
        known = credentials or self._lookup(self.host)
        if known is None:
            return LoginWanted(
                f"{self.host} wants a login",
                hint=f"run `docker login {self.host}`, or set MLOPS_REGISTRY_USERNAME and MLOPS_REGISTRY_PASSWORD",
            )
        return RegistryLoginRefused(
            f"{self.host} does not accept the login of {known.username or 'the refresh token'}",
            hint=f"log in again with `docker login {self.host}`, or correct MLOPS_REGISTRY_PASSWORD",
        )

    def _token(self, client: httpx.Client, asked: dict[str, str], credentials: Credentials | None) -> str:
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme not in {"https", self.scheme}:
            raise UnexpectedAnswer(f"{self.host} asks for a login at {realm!r}, which is no {self.scheme} address")
        wanted = sorted({*self.scopes, *asked.get("scope", "").split()})
        form = {"service": asked.get("service", ""), "scope": wanted}
        try:
            if credentials is not None and credentials.refresh_token:
                form |= {"grant_type": "refresh_token", "client_id": CLIENT_ID, "scope": " ".join(wanted)}
                answer = client.post(realm, data={**form, "refresh_token": credentials.refresh_token})
            else:
                headers = {"Authorization": f"Basic {credentials.basic}"} if credentials else {}
                answer = client.get(realm, params=form, headers=headers)
        except httpx.TransportError as error:
            raise RegistryAway(f"{realm}, where {self.host} gives logins, does not answer: {error}") from None
        if answer.status_code in {400, 401, 403}:
            raise self.refused(credentials)
        if answer.status_code != httpx.codes.OK:
            raise RegistryAway(f"{realm}, where {self.host} gives logins, answers {answer.status_code}")
        try:
            told = answer.json()
            token = told.get("token") or told["access_token"]
        except (ValueError, KeyError, AttributeError):
            raise UnexpectedAnswer(f"{realm} gave no token for {self.host}") from None
        return str(token)
