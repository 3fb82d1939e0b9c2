"""Who we are to a registry, and whether it may be spoken to without TLS."""

import base64
import ipaddress
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from pipelines.packaging.oci.errors import CredentialsBroken
from pipelines.packaging.oci.reference import DOCKER_HUB_HOST
from pipelines.variables import Variables, variable

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"  # noqa: S105 - how a credential helper says that the secret is a refresh token
HELPER_SECONDS = 30


@dataclass(frozen=True)
class Credentials:
    """A user's name and password, or a refresh token."""

    username: str = ""
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class RegistryVariables(Variables):
    """Read when an image is pushed or pulled."""

    title: ClassVar[str] = "Image registries"

    images: str = variable("MLOPS_IMAGES", "", "Its registry is the one that the login is for.", shown="none")
    username: str = variable("MLOPS_REGISTRY_USERNAME", "", "Login to the registry of `MLOPS_IMAGES`, and to no other.")
    password: SecretStr | None = variable("MLOPS_REGISTRY_PASSWORD", None, "Its password.")
    docker_config: Path | None = variable(
        "DOCKER_CONFIG", None, "The folder of Docker's `config.json`, for every other login.", shown="`~/.docker`"
    )
    user_home: Path | None = variable("HOME", None, "Where `.docker` is looked for.", shown="none")
    plain: str = variable(
        "MLOPS_PLAIN_REGISTRIES",
        "",
        "Registries that speak plain HTTP, with commas between them. Those on this machine's loopback need not be "
        "named.",
    )


@dataclass(frozen=True)
class RegistryAccess:
    """Read once at the edge; logins are looked up when a registry asks for one."""

    own: Mapping[str, Credentials] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    docker_config: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "RegistryAccess":
        """From the environment.

        Raises:
            VariableWrong: a variable has a value that it cannot have, or the password's file cannot be read.
        """
        given = RegistryVariables.load(environ)
        host = given.images.split("/")[0]
        password = given.password.get_secret_value() if given.password else ""
        folder = given.docker_config or (given.user_home / ".docker" if given.user_home else None)
        return cls(
            own={host: Credentials(given.username, password)} if host and given.username else {},
            plain=frozenset(name.strip() for name in given.plain.split(",") if name.strip()),
            docker_config=folder / "config.json" if folder else None,
        )

    def scheme(self, host: str) -> str:
        """Plain HTTP for loopback and for what was named; TLS for everything else."""
        return "http" if host in self.plain or _is_loopback(host) else "https"

    def credentials(self, host: str) -> Credentials | None:
        """The login for a registry: the environment's, else what `docker login` or a credential helper has."""
        if host in self.own:
            return self.own[host]
        config = self._docker_config()
        for key in (host, f"https://{host}", DOCKER_HUB_KEY) if host == DOCKER_HUB_HOST else (host, f"https://{host}"):
            helper = config.get("credHelpers", {}).get(key)
            if helper:
                return _ask_helper(helper, key)
            entry = config.get("auths", {}).get(key) or {}
            if found := self._of_entry(entry, key):
                return found
        store = config.get("credsStore")
        return _ask_helper(store, DOCKER_HUB_KEY if host == DOCKER_HUB_HOST else host) if store else None

    def _of_entry(self, entry: Mapping[str, str], key: str) -> Credentials | None:
        if entry.get("identitytoken"):
            return Credentials(refresh_token=entry["identitytoken"])
        if entry.get("auth"):
            try:
                username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            except ValueError:
                raise CredentialsBroken(
                    f"{self.docker_config}: auths.{key}.auth is not base64 of user:password"
                ) from None
            return Credentials(username, password)
        if entry.get("username"):
            return Credentials(entry["username"], entry.get("password", ""))
        return None

    def _docker_config(self) -> dict[str, Any]:
        if self.docker_config is None or not self.docker_config.is_file():
            return {}
        try:
            config = json.loads(self.docker_config.read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialsBroken(f"{self.docker_config} cannot be read as JSON: {error}") from None
        return config if isinstance(config, dict) else {}


def _ask_helper(name: str, host: str) -> Credentials | None:
    """Docker's protocol for credential helpers: the host on standard input, JSON on standard output."""
    command = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [command, "get"], input=host, capture_output=True, text=True, check=False, timeout=HELPER_SECONDS
        )
    except FileNotFoundError:
        raise CredentialsBroken(f"the login to {host} is with {command}, which is not installed here") from None
    except subprocess.TimeoutExpired:
        raise CredentialsBroken(f"{command} gave no login to {host} within {HELPER_SECONDS} s") from None
    if done.returncode != 0:
        words = (done.stdout.strip() or done.stderr.strip()).splitlines()
        if words and "credentials not found" in words[-1]:
            return None
        raise CredentialsBroken(f"{command} gave no login to {host}: {words[-1] if words else done.returncode}")
    try:
        told = json.loads(done.stdout)
        username, secret = told["Username"], told["Secret"]
    except (ValueError, KeyError, TypeError):
        raise CredentialsBroken(f"{command} answered something else than a login to {host}") from None
    return Credentials(refresh_token=secret) if username == TOKEN_USER else Credentials(username, secret)


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
