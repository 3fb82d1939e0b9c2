"""Pull requests on GitHub, as far as a release needs them: one open request a branch, opened or brought up to date."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from pipelines.errors import MlopsError
from pipelines.git.credentials import Access
from pipelines.settings import Settings
from pipelines.variables import Variables, variable

if TYPE_CHECKING:
    import httpx

PUBLIC_API = "https://api.github.com"
API_VERSION = "2022-11-28"
LARGEST_BODY = 65_536
TRIES = 3
LONGEST_WAIT = 60.0
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
TICKED = re.compile(r"^(\s*[-*] )\[[xX]\]", re.MULTILINE)
NAME_PATTERN = re.compile(r"[\w.-]+/[\w.-]+")
BUSY = (500, 502, 503, 504)

Outcome = Literal["opened", "updated", "unchanged"]


class GitHubUnreachable(MlopsError):
    """GitHub's API does not answer."""


class GitHubLoginRefused(MlopsError):
    """GitHub does not know the token, or it may not do this."""


class GitHubRefused(MlopsError):
    """GitHub did not accept the request itself."""


class GitHubInvalid(MlopsError):
    """A setting about GitHub cannot be right."""


class GitHubVariables(Variables):
    """Read when a promotion opens a pull request, beside the two under [Where things are](#where-things-are)."""

    title: ClassVar[str] = "GitHub"

    token: SecretStr | None = variable(
        "MLOPS_GITHUB_TOKEN",
        None,
        "May write contents and pull requests.",
        also=("GITHUB_TOKEN",),
        shown="`GITHUB_TOKEN`, else the token for Git where `MLOPS_REMOTE` is on GitHub",
    )


@dataclass(frozen=True)
class PullRequest:
    number: int
    url: str
    outcome: Outcome


@dataclass(frozen=True)
class GitHub:
    """One repository on github.com or a GitHub Enterprise server."""

    repository: str
    api: str = PUBLIC_API
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> "GitHub | None":
        """The repository that these settings release to, None when it is not on GitHub."""
        host, path = _host_and_path(settings.remote)
        api = (settings.github_api or PUBLIC_API).rstrip("/")
        on_github = host in _hosts(api)
        repository = settings.github_repository or (path if on_github else None)
        if repository is None:
            return None
        if not NAME_PATTERN.fullmatch(repository):
            raise GitHubInvalid(f"MLOPS_GITHUB_REPOSITORY: expected owner/name (got {repository!r})")
        given = GitHubVariables.load(environ).token
        token = given.get_secret_value() if given else None
        if not token and on_github:
            token = Access.load(environ).token
        return cls(repository, api, token)

    @property
    def web(self) -> str:
        """The repository's page for people."""
        parts = urlsplit(self.api)
        host = "https://github.com" if self.api == PUBLIC_API else f"{parts.scheme}://{parts.netloc}"
        return f"{host}/{self.repository}"

    def propose_url(self, branch: str, base: str) -> str:
        """Where a person opens the pull request by hand."""
        return f"{self.web}/compare/{quote(base)}...{quote(branch)}?expand=1"

    def ensure_pull_request(self, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Open the pull request of this branch, or bring the open one up to date. Ticks of its checklist stay.

        Each try looks first, so that a request whose answer was lost is found and not made twice.
        """
        import httpx

        if len(body) > LARGEST_BODY:
            raise GitHubInvalid(f"the pull request's text has {len(body)} characters; GitHub takes {LARGEST_BODY}")
        wait = 1.0
        for tries_left in reversed(range(TRIES)):
            try:
                with self._client() as client:
                    return self._ensure(client, branch, base, title, body)
            except httpx.TransportError as error:
                if not tries_left:
                    raise GitHubUnreachable(
                        f"{self.api} does not answer: {error or type(error).__name__}",
                        hint="is MLOPS_GITHUB_API right and the network up? The branch is pushed; promote again later",
                    ) from None
            except _Busy as busy:
                if not tries_left or busy.seconds > LONGEST_WAIT:
                    raise GitHubUnreachable(busy.message, hint="the branch is pushed; promote again later") from None
                wait = max(wait, busy.seconds)
            time.sleep(wait)
            wait *= 2
        raise AssertionError  # the last try has raised

    def _ensure(self, client: "httpx.Client", branch: str, base: str, title: str, body: str) -> PullRequest:
        owner = self.repository.split("/")[0]
        pulls = f"/repos/{self.repository}/pulls"
        asked = {"state": "open", "head": f"{owner}:{branch}", "base": base}
        found = self._ask(client, "GET", pulls, params=asked)
        if not found:
            made = self._ask(client, "POST", pulls, json={"title": title, "head": branch, "base": base, "body": body})
            return PullRequest(made["number"], made["html_url"], "opened")
        known = found[0]
        number, url = known["number"], known["html_url"]
        if known["title"] == title and _same(known["body"] or "", body):
            return PullRequest(number, url, "unchanged")
        self._ask(client, "PATCH", f"{pulls}/{number}", json={"title": title, "body": body})
        return PullRequest(number, url, "updated")

    def _client(self) -> "httpx.Client":
        import httpx

        return httpx.Client(
            base_url=self.api,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "X-GitHub-Api-Version": API_VERSION,
                "User-Agent": "mlops-blueprint",
            },
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
        )

    def _ask(self, client: "httpx.Client", method: str, path: str, **words: Any) -> Any:
        answer = client.request(method, path, **words)
        if answer.is_success:
            try:
                return answer.json()
            except ValueError:
                raise GitHubUnreachable(
                    f"{self.api} answered {path} with no JSON", hint="is MLOPS_GITHUB_API the address of the API?"
                ) from None
        raise self._explain(answer)

    def _explain(self, answer: "httpx.Response") -> Exception:
        told = f"GitHub answered {answer.status_code}: {_words(answer)}"
        status, limited = answer.status_code, _seconds_to_wait(answer)
        if limited is not None:
            return _Busy(f"{told} (asked to wait for {limited:.0f} s)", limited)
        if status in BUSY:
            return _Busy(told, 0.0)
        if status == 422 and "already exists" in told:
            return _Busy(told, 0.0)  # somebody was faster: the next look finds it
        if status == 401:
            return GitHubLoginRefused(told, hint="has the token in MLOPS_GITHUB_TOKEN expired?")
        if status in (403, 404):
            return GitHubLoginRefused(
                f"{told} for {self.repository}",
                hint="the token needs this repository with `contents: write` and `pull requests: write`; "
                "that of a workflow also the repository's setting that lets workflows open pull requests",
            )
        return GitHubRefused(
            told, hint=f"does {self.repository} hold both branches? MLOPS_REMOTE must be the same repository"
        )


class _Busy(Exception):
    """Try again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.message = message
        self.seconds = seconds


def _same(known: str, wanted: str) -> bool:
    """Whether only a reviewer's ticks, or the line ends of a browser, are different."""
    return TICKED.sub(r"\1[ ]", known.replace("\r\n", "\n")).strip() == wanted.strip()


def _words(answer: "httpx.Response") -> str:
    try:
        told = answer.json()
        details = [error.get("message") or error.get("code", "") for error in told.get("errors", [])]
        return "; ".join(part for part in [told.get("message", ""), *details] if part)
    except (ValueError, AttributeError):
        return answer.reason_phrase


def _seconds_to_wait(answer: "httpx.Response") -> float | None:
    """How long a rate limit lasts, None when this is not one."""
    if answer.status_code not in (403, 429):
        return None
    if (after := answer.headers.get("retry-after", "")).isdigit():
        return float(after)
    if answer.headers.get("x-ratelimit-remaining") == "0":
        return max(1.0, float(answer.headers.get("x-ratelimit-reset", 0)) - time.time())
    return 1.0 if answer.status_code == 429 else None


def _hosts(api: str) -> tuple[str, ...]:
    """The Git hosts that belong to an API."""
    host = urlsplit(api).hostname or ""
    return (
        ("github.com", "ssh.github.com", "www.github.com") if api == PUBLIC_API else (host, host.removeprefix("api."))
    )


def _host_and_path(remote: str) -> tuple[str | None, str]:
    """A Git address's host and owner/name: https://h/o/r.git, ssh://git@h:22/o/r.git, git@h:o/r.git."""
    if "://" in remote:
        parts = urlsplit(remote)
        host, path = parts.hostname, parts.path
    elif match := re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+):(?!/)(.+)", remote):
        host, path = match[1], match[2]
    else:
        return None, ""
    return host, path.strip("/").removesuffix(".git")
