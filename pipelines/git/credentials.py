"""With which name, token and key this machine acts on a remote Git repository: the variables of GitVariables.

Read each time git is started: a token that is renewed while a long training runs is the one that is used. It goes to
git through its environment and to no other host than the remote's, never into an argument, a URL or a message.
"""

import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from pipelines.errors import MlopsError
from pipelines.variables import Variables, variable

USER = "x-access-token"  # GitHub's; other hosts take any name with a token, or the one in the URL
NOBODY = ("mlops", "mlops@localhost")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
AUTHOR_PATTERN = re.compile(r"(?P<name>[^<>\n]*[^<>\s])\s*<(?P<address>[^<>\s]+@[^<>\s]+)>")
ASKPASS = """\
#!/bin/sh
# Answers for one host only: a redirect to another one gets nothing.
case "$1" in
  "Username for '$MLOPS_ASKED_FOR'"*) echo "$MLOPS_ASKED_AS" ;;
  "Password for "*"@$MLOPS_ASKED_HOST'"*) printf '%s\\n' "$MLOPS_ASKED_TOKEN" ;;
esac
"""
SSH = (
    "-o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15 "
    "-o ServerAliveInterval=15 -o ServerAliveCountMax=3"
)


class AccessInvalid(MlopsError):
    """A setting about the login to Git cannot be right: a missing file, a token where it would be seen."""


class GitVariables(Variables):
    """Read each time git talks to a remote repository."""

    title: ClassVar[str] = "Git"

    token: SecretStr | None = variable("MLOPS_GIT_TOKEN", None, "For https remotes.")
    ssh_key: Path | None = variable(
        "MLOPS_GIT_SSH_KEY", None, "The file of the private key for SSH remotes.", shown="this machine's ssh setup"
    )
    known_hosts: Path | None = variable(
        "MLOPS_GIT_KNOWN_HOSTS", None, "The hosts to trust: a file in ssh's known_hosts format.", shown="ssh's own"
    )
    author: str = variable(
        "MLOPS_GIT_AUTHOR", "", "The author of release commits: `Name <address>`.", shown="mlops, mlops@localhost"
    )


@dataclass(frozen=True)
class GitAccess:
    """What a remote repository is told about who is there."""

    token: str | None = field(default=None, repr=False)
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    name: str = NOBODY[0]
    address: str = NOBODY[1]

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "GitAccess":
        """From the environment.

        Raises:
            VariableWrong: a variable has a value that it cannot have, or a token's file cannot be read.
            AccessInvalid: a key or a list of hosts is not there, or the token is not one.
        """
        given = GitVariables.load(environ)
        name, address = _author(given.author)
        return cls(
            token=_token(given.token),
            ssh_key=_file("MLOPS_GIT_SSH_KEY", given.ssh_key),
            known_hosts=_file("MLOPS_GIT_KNOWN_HOSTS", given.known_hosts),
            name=name,
            address=address,
        )

    @property
    def is_somebody(self) -> bool:
        """Whether commits are made in a name that was given, and may be signed as its git config says."""
        return (self.name, self.address) != NOBODY

    def identity(self) -> dict[str, str]:
        """The author and committer, as git reads them from its environment."""
        pairs = (("NAME", self.name), ("EMAIL", self.address))
        return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in pairs}

    @contextlib.contextmanager
    def environment(self, remote: str) -> Iterator[dict[str, str]]:
        """The environment for a git command that talks to the remote."""
        url = urlsplit(remote) if "://" in remote else None
        if url and url.scheme in ("http", "https"):
            _refuse_what_shows_a_secret(url.scheme, url.hostname, url.password, self.token)
            if self.token:
                with self._answering(f"{url.scheme}://", url.netloc, url.username or USER) as env:
                    yield env
                return
        yield self._ssh_environment()

    @contextlib.contextmanager
    def _answering(self, scheme: str, netloc: str, user: str) -> Iterator[dict[str, str]]:
        """Git asks for the password by a program that prints a variable, and no helper of this machine keeps it."""
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch) / "askpass"
            program.write_text(ASKPASS)
            program.chmod(0o700)
            yield {
                "GIT_ASKPASS": str(program),
                "MLOPS_ASKED_FOR": f"{scheme}{netloc}",
                "MLOPS_ASKED_HOST": netloc.rpartition("@")[2],
                "MLOPS_ASKED_AS": user,
                "MLOPS_ASKED_TOKEN": self.token or "",
                "GIT_TRACE_REDACT": "1",
                **_config({"credential.helper": "", "credential.useHttpPath": "false"}),
            }

    def _ssh_environment(self) -> dict[str, str]:
        """The key and hosts that are named here, without a question; else this machine's ssh as it is set up."""
        if not (self.ssh_key or self.known_hosts):
            return {}
        command = f"ssh {SSH}"
        if self.ssh_key:
            command += f" -i {shlex.quote(str(self.ssh_key))} -o IdentitiesOnly=yes"
        if self.known_hosts:
            # ssh itself splits this option at spaces, so a path with one needs quotes inside the shell's.
            option = f'UserKnownHostsFile="{self.known_hosts}"'
            command += f" -o {shlex.quote(option)}"
        return {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}

    def without_token(self, text: str) -> str:
        """The text as it may be shown."""
        return text.replace(self.token, "***") if self.token else text


def _refuse_what_shows_a_secret(scheme: str, host: str | None, password: str | None, token: str | None) -> None:
    if password:
        raise AccessInvalid(
            f"the address of the Git remote at {host} holds a password, which every log and error would show",
            hint="take it out of MLOPS_REMOTE and give it as MLOPS_GIT_TOKEN or MLOPS_GIT_TOKEN_FILE",
        )
    if token and scheme == "http" and host not in LOOPBACK:
        raise AccessInvalid(
            f"the Git token is not sent to {host} over http, where others could read it", hint="use https:// or SSH"
        )


def _author(text: str) -> tuple[str, str]:
    if not text.strip():
        return NOBODY
    match = AUTHOR_PATTERN.fullmatch(text.strip())
    if match is None:
        raise AccessInvalid(f"MLOPS_GIT_AUTHOR: expected `Name <name@example.com>` (got {text!r})")
    return match["name"], match["address"]


def _token(given: SecretStr | None) -> str | None:
    token = given.get_secret_value() if given else None
    if token and any(char.isspace() for char in token):
        raise AccessInvalid("MLOPS_GIT_TOKEN: expected one token, alone (its value is not shown)")
    return token


def _file(name: str, given: Path | None) -> Path | None:
    if given is None:
        return None
    path = given.expanduser().absolute()
    if not os.access(path, os.R_OK) or not path.is_file():
        raise AccessInvalid(f"{name}: {path} is no file that can be read here")
    return path


def _config(values: Mapping[str, str]) -> dict[str, str]:
    """Git config by environment, after what the caller's environment brings already."""
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    env = {"GIT_CONFIG_COUNT": str(first + len(values))}
    for number, (key, value) in enumerate(values.items(), start=first):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env
