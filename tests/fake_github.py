"""A stand-in for GitHub's REST API for pull requests and statuses, which no test can reach.

It answers as https://docs.github.com/rest/pulls/pulls and /rest/commits/statuses document, holds every request to the
documented fields, and looks into a real repository for the branches that are named. It is not GitHub: what it does not
check, no test shows.
"""

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREATE = {"title", "head", "head_repo", "base", "body", "maintainer_can_modify", "draft", "issue"}
UPDATE = {"title", "body", "state", "base", "maintainer_can_modify"}
LIST = {"state", "head", "base", "sort", "direction", "per_page", "page"}
STATUS = {"state", "target_url", "description", "context"}
LARGEST_BODY = 65_536


@dataclass
class FakeGitHub:
    origin: Path
    token: str = "ghp_good"
    repository: str = "acme/models"
    pulls: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str], str]] = field(default_factory=list)  # told first, one a request
    lose_answers: int = 0  # so many creations happen without the client hearing of it
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    api: str = ""

    @contextlib.contextmanager
    def serve(self) -> Iterator["FakeGitHub"]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.requests.append(f"{self.command} {self.path}")
                if fake.failures:
                    status, headers, message = fake.failures.pop(0)
                    self.say(status, {"message": message}, headers)
                    return
                status, answer = fake.answer(self.command, self.path, dict(self.headers), body)
                if status == 201 and fake.lose_answers:
                    fake.lose_answers -= 1
                    return
                self.say(status, answer, {})

            def do_GET(self) -> None:
                self.answer_one()

            def do_POST(self) -> None:
                self.answer_one()

            def do_PATCH(self) -> None:
                self.answer_one()

            def say(self, status: int, answer: Any, headers: dict[str, str]) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.api = f"http://127.0.0.1:{server.server_address[1]}/api/v3"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert not self.problems, self.problems

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        headers = {name.lower(): value for name, value in headers.items()}
        self._expect(headers.get("accept") == "application/vnd.github+json", "Accept as GitHub recommends")
        self._expect("x-github-api-version" in headers, "X-GitHub-Api-Version")
        self._expect(bool(headers.get("user-agent")), "a User-Agent, without which GitHub answers 403")
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"message": "Bad credentials"}
        return self._route(method, path, body)

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(path)
        status = re.fullmatch(rf"/api/v3/repos/{re.escape(self.repository)}/statuses/([0-9a-f]{{40}})", parts.path)
        if status and method == "POST":
            return self._set_status(status[1], json.loads(body))
        match = re.fullmatch(r"/api/v3/repos/([^/]+/[^/]+)/pulls(?:/(\d+))?", parts.path)
        if match is None or match[1] != self.repository:
            return 404, {"message": "Not Found"}
        words = json.loads(body) if body else {}
        if method == "GET" and match[2] is None:
            return self._list({name: values[0] for name, values in parse_qs(parts.query).items()})
        if method == "POST" and match[2] is None:
            return self._create(words)
        if method == "PATCH" and match[2]:
            return self._update(int(match[2]), words)
        return 404, {"message": "Not Found"}

    def _list(self, asked: dict[str, str]) -> tuple[int, Any]:
        self._expect(set(asked) <= LIST, f"only documented query parameters, not {set(asked) - LIST}")
        self._expect(":" in asked.get("head", ""), "head as user:branch, which GitHub ignores otherwise")
        branch = asked["head"].partition(":")[2]
        found = [
            pull
            for pull in self.pulls
            if pull["state"] == asked.get("state", "open")
            and pull["head"]["ref"] == branch
            and pull["base"]["ref"] == asked.get("base", pull["base"]["ref"])
        ]
        return 200, found

    def _create(self, words: dict[str, Any]) -> tuple[int, Any]:
        self._expect(set(words) <= CREATE, f"only documented fields, not {set(words) - CREATE}")
        self._expect({"title", "head", "base"} <= set(words), "title, head and base, which are required")
        if problem := self._problem(words["head"], words["base"], words.get("body") or ""):
            return 422, {"message": "Validation Failed", "errors": [{"resource": "PullRequest", **problem}]}
        number = len(self.pulls) + 11
        pull = {
            "number": number,
            "state": "open",
            "title": words["title"],
            "body": words.get("body"),
            "html_url": f"https://github.com/{self.repository}/pull/{number}",
            "head": {"ref": words["head"]},
            "base": {"ref": words["base"]},
        }
        self.pulls.append(pull)
        return 201, pull

    def _update(self, number: int, words: dict[str, Any]) -> tuple[int, Any]:
        self._expect(set(words) <= UPDATE, f"only documented fields, not {set(words) - UPDATE}")
        for pull in self.pulls:
            if pull["number"] == number:
                pull.update(words)
                return 200, pull
        return 404, {"message": "Not Found"}

    def _set_status(self, sha: str, words: dict[str, Any]) -> tuple[int, Any]:
        self._expect(set(words) <= STATUS, f"only documented fields, not {set(words) - STATUS}")
        self._expect(words.get("state") in {"error", "failure", "pending", "success"}, "one of the four states")
        self._expect(len(words.get("description") or "") <= 140, "a description of at most 140 characters")
        asked = ["git", "-C", str(self.origin), "cat-file", "-e", f"{sha}^{{commit}}"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            return 422, {"message": f"No commit found for SHA: {sha}"}
        self.statuses.append({"sha": sha, **words})
        return 201, self.statuses[-1]

    def _problem(self, head: str, base: str, body: str) -> dict[str, str] | None:
        if not self._commit(head):
            return {"field": "head", "code": "invalid"}
        if not self._commit(base):
            return {"field": "base", "code": "invalid"}
        if self._commit(head) == self._commit(base):
            return {"code": "custom", "message": f"No commits between {base} and {head}"}
        if len(body) > LARGEST_BODY:
            return {"field": "body", "code": "custom", "message": f"body is too long (maximum is {LARGEST_BODY})"}
        owner = self.repository.split("/")[0]
        if any(pull["state"] == "open" and pull["head"]["ref"] == head for pull in self.pulls):
            return {"code": "custom", "message": f"A pull request already exists for {owner}:{head}."}
        return None

    def _commit(self, branch: str) -> str:
        asked = ["git", "-C", str(self.origin), "rev-parse", "--verify", "-q", f"refs/heads/{branch}"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()

    def _expect(self, held: bool, what: str) -> None:
        if not held:
            self.problems.append(what)
