"""Who we are to a registry, and whether it may be spoken to without TLS.

MLOPS_REGISTRY_USERNAME, MLOPS_REGISTRY_PASSWORD   the login to the registry of MLOPS_IMAGES, and to no other
DOCKER_CONFIG                                      the folder of Docker's config.json (default: ~/.docker)
MLOPS_PLAIN_REGISTRIES                             registries that speak plain HTTP, with commas between them;
                                                   those on this machine's loopback need not be named
"""

import base64
import ipaddress
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.packaging.oci.errors import CredentialsBroken
from pipelines.packaging.oci.reference import DOCKER_HUB_HOST

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


@dataclass(frozen=True)
class RegistryAccess:
    """Read once at the edge; logins are looked up when a registry asks for one."""

    own: Mapping[str, Credentials] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    docker_config: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "RegistryAccess":
        env = os.environ if environ is None else environ
        host, username = env.get("MLOPS_IMAGES", "").split("/")[0], env.get("MLOPS_REGISTRY_USERNAME", "")
        given = Credentials(username, env.get("MLOPS_REGISTRY_PASSWORD", ""))
        folder = env.get("DOCKER_CONFIG") or (str(Path(env["HOME"]) / ".docker") if env.get("HOME") else "")
        plain = (name.strip() for name in env.get("MLOPS_PLAIN_REGISTRIES", "").split(","))
        return cls(
            own={host: given} if host and username else {},
            plain=frozenset(name for name in plain if name),
            docker_config=Path(folder) / "config.json" if folder else None,
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
