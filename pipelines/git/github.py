"""GitHub as a forge: one open pull request a branch, a commit's status, pages for people."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from pipelines.git.credentials import GitAccess
from pipelines.git.forge import CommitState, ForgeInvalid, ForgeLoginRefused, ForgeRefused, ForgeUnreachable, Review
from pipelines.settings import Settings
from pipelines.variables import Variables, variable

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
PUBLIC_API = "https://api.github.com"
API_VERSION = "2022-11-28"
LARGEST_BODY = 65_536
MOST_STATUS = 140
TRIES = 3
LONGEST_WAIT = 60.0
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
TICKED = re.compile(r"^(\s*[-*] )\[[xX]\]", re.MULTILINE)
NAME_PATTERN = re.compile(r"[\w.-]+/[\w.-]+")
BUSY = (500, 502, 503, 504)


class GitHubUnreachable(ForgeUnreachable):
    """GitHub's API does not answer."""


class GitHubLoginRefused(ForgeLoginRefused):
    """GitHub does not know the token, or it may not do this."""


class GitHubRefused(ForgeRefused):
    """GitHub did not accept the request itself."""


class GitHubInvalid(ForgeInvalid):
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
class GitHub:
    """One repository on github.com or a GitHub Enterprise server."""

    repository: str
    api: str = PUBLIC_API
    token: str | None = field(default=None, repr=False)
    name: ClassVar[str] = "GitHub"
    noun: ClassVar[str] = "pull request"
    most_characters: ClassVar[int] = LARGEST_BODY

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
            token = GitAccess.load(environ).token
        return cls(repository, api, token)

    @property
    def web(self) -> str:
        """The repository's page for people."""
        parts = urlsplit(self.api)
        host = "https://github.com" if self.api == PUBLIC_API else f"{parts.scheme}://{parts.netloc}"
        return f"{host}/{self.repository}"

    @property
    def reviews(self) -> "GitHub":
        """Its pull requests."""
        return self

    @property
    def token_variable(self) -> str | None:
        """The variable that a pull request cannot be opened without, None where there is a token."""
        return None if self.token else "MLOPS_GITHUB_TOKEN"

    def page_to_open(self, branch: str, base: str) -> str:
        """Where a person opens the pull request by hand."""
        return f"{self.web}/compare/{quote(base)}...{quote(branch)}?expand=1"

    def commit_page(self, commit: str) -> str:
        """The page of a commit."""
        return f"{self.web}/commit/{commit}"

    def compare_page(self, old: str, new: str) -> str:
        """The page of what changed between two commits."""
        return f"{self.web}/compare/{old}...{new}"

    def ensure(self, branch: str, base: str, title: str, body: str) -> Review:
        """Open the pull request of this branch, or bring the open one up to date. Ticks of its checklist stay.

        Each try looks first, so that a request whose answer was lost is found and not made twice.

        Raises:
            GitHubInvalid: the text is longer than GitHub takes.
            GitHubUnreachable, GitHubLoginRefused, GitHubRefused: what GitHub says.
        """
        if len(body) > LARGEST_BODY:
            raise GitHubInvalid(f"the pull request's text has {len(body)} characters; GitHub takes {LARGEST_BODY}")
        hint = "the branch is pushed; promote again later"
        return self._patiently(lambda client: self._ensure(client, branch, base, title, body), hint)

    def close(self, branch: str, base: str) -> int | None:
        """Close this branch's open pull request unmerged; gives its number. Raises as `ensure` does."""

        def close(client: "httpx.Client") -> int | None:
            found = self._open_ones(client, branch, base)
            if found:
                self._ask(client, "PATCH", f"{self._pulls}/{found[0]['number']}", json={"state": "closed"})
            return found[0]["number"] if found else None

        return self._patiently(close, "close it by hand")

    def set_status(
        self, commit: str, state: CommitState, context: str, description: str, url: str | None = None
    ) -> bool:
        """Say beside a commit what became of it. Raises as `ensure` does."""
        words = {"state": state, "context": context, "description": description[:MOST_STATUS]}
        words |= {"target_url": url} if url else {}
        path = f"/repos/{self.repository}/statuses/{commit}"
        self._patiently(lambda client: self._ask(client, "POST", path, json=words), "the commit itself is pushed")
        return True

    def _patiently(self, act: "Callable[[httpx.Client], T]", hint: str) -> T:
        """Act, and again where GitHub is busy or the line broke."""
        import httpx

        wait = 1.0
        for tries_left in reversed(range(TRIES)):
            try:
                with self._client() as client:
                    return act(client)
            except httpx.TransportError as error:
                if not tries_left:
                    raise GitHubUnreachable(
                        f"{self.api} does not answer: {error or type(error).__name__}",
                        hint=f"is MLOPS_GITHUB_API right and the network up? {hint[0].upper()}{hint[1:]}",
                    ) from None
            except _Busy as busy:
                if not tries_left or busy.seconds > LONGEST_WAIT:
                    raise GitHubUnreachable(busy.message, hint=hint) from None
                wait = max(wait, busy.seconds)
            time.sleep(wait)
            wait *= 2
        raise AssertionError  # the last try has raised

    @property
    def _pulls(self) -> str:
        return f"/repos/{self.repository}/pulls"

    def _open_ones(self, client: "httpx.Client", branch: str, base: str) -> Any:
        owner = self.repository.split("/")[0]
        return self._ask(
            client, "GET", self._pulls, params={"state": "open", "head": f"{owner}:{branch}", "base": base}
        )

    def _ensure(self, client: "httpx.Client", branch: str, base: str, title: str, body: str) -> Review:
        found = self._open_ones(client, branch, base)
        if not found:
            words = {"title": title, "head": branch, "base": base, "body": body}
            made = self._ask(client, "POST", self._pulls, json=words)
            return Review(made["number"], made["html_url"], "opened")
        known = found[0]
        number, url = known["number"], known["html_url"]
        if known["title"] == title and _same(known["body"] or "", body):
            return Review(number, url, "unchanged")
        self._ask(client, "PATCH", f"{self._pulls}/{number}", json={"title": title, "body": body})
        return Review(number, url, "updated")

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
