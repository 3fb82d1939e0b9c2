"""Production by pull request: git is real, GitHub's API a stand-in on loopback (see tests/fake_github.py)."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import main
from pipelines.git.forge import PlainRemote
from pipelines.git.forges import forge_of
from pipelines.git.github import GitHub, GitHubInvalid, GitHubLoginRefused, GitHubRefused, GitHubUnreachable
from pipelines.release.evidence import Evidence, find_evidence
from pipelines.release.release import release_path
from pipelines.release.releases import Releases
from pipelines.release.review_text import write_text
from pipelines.runs.tracking import Published
from pipelines.settings import Settings
from tests.fake_github import LARGEST_BODY, FakeGitHub
from tests.integration.test_releases import FLIGHTS, open_at, origin, release
from tests.pipeline_cases import git

__all__ = ["origin"]

VERDICT = (
    "**Passed: all 5 rules hold (against flights/1).**\n\n| | Rule |\n| --- | --- |\n| ✅ | roc_auc at least 0.65 |\n"
)
CARD = """# Model card: flights

> Purpose, asked for by @accountable

## Metrics

![ROC curve](plots/roc.svg)

*ROC curve*

## Data

Contact ops@example.com.
"""


@pytest.fixture(autouse=True)
def no_tokens_of_this_machine(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MLOPS_", "GITHUB_")):
            monkeypatch.delenv(name)


@pytest.fixture
def releases(origin) -> Releases:
    made = open_at(origin)
    made.bump(FLIGHTS, "staging", release(1), "x")
    made.bump(FLIGHTS, "staging", release(2), "x")
    return made


@pytest.fixture
def fake(origin):
    with FakeGitHub(origin).serve() as served:
        yield served


@pytest.fixture
def github(fake) -> GitHub:
    return GitHub("acme/models", fake.api, "ghp_good")


@pytest.fixture
def mlops(origin, fake, releases, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (checkout / "apps" / FLIGHTS).mkdir(parents=True)
    (checkout / "pyproject.toml").write_text("")
    monkeypatch.setenv("MLOPS_REMOTE", str(origin))
    monkeypatch.setenv("MLOPS_GITHUB_REPOSITORY", "acme/models")
    monkeypatch.setenv("MLOPS_GITHUB_API", fake.api)
    monkeypatch.setenv("MLOPS_GITHUB_TOKEN", "ghp_good")
    # No MLflow there: the run folders of this machine have what is asked of it.
    monkeypatch.setenv("MLOPS_TRACKING_URI", "http://127.0.0.1:9")
    evaluation = checkout / ".mlops" / "runs" / "flights-2" / "evaluation"
    evaluation.mkdir(parents=True)
    (evaluation / "verdict.md").write_text(VERDICT)
    (evaluation / "model-card.md").write_text(CARD)
    Published(mlflow_run=release(2).run, records=1).write(evaluation.parent / "published.json")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--root", str(checkout), *arguments])

    return call


def merge(origin, branch: str, how: str, message: str = "") -> None:
    """What GitHub's button does: a merge commit, or all changes as one new commit."""
    identity = ("-c", "user.name=reviewer", "-c", "user.email=r@example.com")
    tree = git(origin, "rev-parse", f"{branch}^{{tree}}")
    main_commit = git(origin, "rev-parse", "main")
    parents = ["-p", main_commit, *(["-p", git(origin, "rev-parse", branch)] if how == "merge" else [])]
    made = git(origin, *identity, "commit-tree", tree, *parents, "-m", message)
    git(origin, "update-ref", "refs/heads/main", made)


# --- promote -----------------------------------------------------------------------------------------------


def test_promote_opens_a_pull_request_with_all_that_a_reviewer_needs(mlops, origin, fake, releases):
    result = mlops("promote", FLIGHTS)
    assert result.exit_code == 4, result.output
    assert "pull request opened: https://github.com/acme/models/pull/11" in result.stdout
    assert releases.current(FLIGHTS, "production") is None, "only merging it deploys"
    (pull,) = fake.pulls
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("promote/flights", "main")
    assert pull["title"] == "promote(flights): first release, 2 in production"
    for words in (
        "| Bento | none | flights:2 |",
        "| roc_auc |  | 0.7200 |",
        "Passed: all 5 rules hold",
        "<summary>Model card</summary>",
        "#### Metrics",
        f"[`{'c' * 12}`]({fake.api.removesuffix('/api/v3')}/acme/models/commit/{'c' * 40})",
        f"`{release(2).run}`",
        "- [ ] Staging has served this release without alerts.",
        "mlops rollback flights --environment production",
    ):
        assert words in pull["body"], words
    assert "@accountable" not in pull["body"], "a report calls nobody"
    assert "ops@example.com" in pull["body"]
    assert "![" not in pull["body"], "its pictures are not on GitHub"
    assert pull["body"].rstrip().endswith("Reason: promotion of staging's release")


def test_promoting_again_changes_nothing_and_newer_releases_update_the_same_request(mlops, origin, fake, releases):
    mlops("promote", FLIGHTS)
    first = git(origin, "rev-parse", "promote/flights")
    fake.pulls[0]["body"] = fake.pulls[0]["body"].replace("- [ ] Staging", "- [x] Staging").replace("\n", "\r\n")
    releases.bump("pictures", "staging", release(1, "pictures"), "x")

    again = mlops("promote", FLIGHTS)
    assert again.exit_code == 4
    assert "pull request unchanged: https://github.com/acme/models/pull/11" in again.stdout
    assert git(origin, "rev-parse", "promote/flights") == first, "a push would throw its approvals away"
    assert "- [x] Staging" in fake.pulls[0]["body"], "and the reviewer's ticks"

    releases.bump(FLIGHTS, "staging", release(3), "x")
    newer = mlops("promote", FLIGHTS)
    assert "pull request updated: https://github.com/acme/models/pull/11" in newer.stdout
    assert len(fake.pulls) == 1
    assert fake.pulls[0]["title"] == "promote(flights): first release, 3 in production"
    assert "verdict and the model card are not shown here" in fake.pulls[0]["body"], "MLflow is away for this one"


@pytest.mark.parametrize("how", ["merge", "squash"])
def test_once_merged_production_runs_it_and_promote_has_nothing_to_do(mlops, origin, fake, releases, how):
    mlops("promote", FLIGHTS)
    merge(origin, "promote/flights", how, f"{fake.pulls[0]['title']} (#11)\n\n{fake.pulls[0]['body']}")
    assert releases.current(FLIGHTS, "production") == release(2)
    (deployed,) = releases.history(FLIGHTS, "production")
    assert (deployed.kind, deployed.release.bento) == ("promotion", "flights:2")
    done = mlops("promote", FLIGHTS)
    assert done.exit_code == 0
    assert "production already runs flights:2" in done.stdout
    assert git(origin, "branch", "--list", "promote/*") == "", "nothing is left to be merged by mistake"


def test_only_what_was_seen_healthy_is_proposed(mlops, origin, fake, releases):
    healthy = git(origin, "rev-parse", "main")
    releases.bump(FLIGHTS, "staging", release(3), "x")
    late = mlops("promote", FLIGHTS, "--healthy-at", healthy)
    assert late.exit_code == 4
    assert "staging runs flights:3 now" in late.stdout
    assert fake.pulls == []
    newest = git(origin, "rev-parse", "main")
    releases.bump("pictures", "staging", release(1, "pictures"), "commits of other models do not matter")
    assert "pull request opened" in mlops("promote", FLIGHTS, "--healthy-at", newest).stdout
    assert mlops("promote", FLIGHTS, "--healthy-at", "f" * 40).exit_code == 4, "a commit that nobody knows"


def test_yes_cannot_go_around_the_review(mlops, releases):
    result = mlops("promote", FLIGHTS, "--yes")
    assert result.exit_code == 2
    assert "production is released by pull request" in result.stderr
    assert releases.current(FLIGHTS, "production") is None


def test_without_a_token_the_branch_is_pushed_and_the_page_to_open_it_is_named(mlops, origin, fake, monkeypatch):
    monkeypatch.delenv("MLOPS_GITHUB_TOKEN")
    result = mlops("promote", FLIGHTS)
    assert result.exit_code == 4
    assert "/acme/models/compare/main...promote/flights?expand=1" in result.stdout
    assert git(origin, "rev-parse", "promote/flights")
    assert fake.requests == []


def test_without_github_an_unmerged_promotion_does_not_end_well(mlops, releases, monkeypatch):
    monkeypatch.delenv("MLOPS_GITHUB_REPOSITORY")
    result = mlops("promote", FLIGHTS)
    assert result.exit_code == 4
    assert "not merged" in result.stdout
    assert mlops("promote", FLIGHTS, "--yes", "--no-wait").exit_code == 0
    assert releases.current(FLIGHTS, "production") == release(2)


def test_a_registry_that_is_away_does_not_make_a_release_fail(mlops, releases, monkeypatch):
    result = mlops("rollback", FLIGHTS, "--no-wait")
    assert result.exit_code == 0, result.stderr
    assert "warning: the alias champion in MLflow stays where it was" in result.stderr
    assert releases.current(FLIGHTS, "staging") == release(1)


# --- rollback ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["merge", "squash"])
def test_production_is_rolled_back_by_pull_request_too_and_remembers_what_was_withdrawn(
    mlops, origin, fake, releases, how
):
    for number in (2, 3):
        releases.bump(FLIGHTS, "staging", release(number), "x")
        releases.merge_promotion(releases.propose_promotion(FLIGHTS))
    result = mlops("rollback", FLIGHTS, "--environment", "production", "--reason", "late flights are missed")
    assert result.exit_code == 4, result.output
    (pull,) = fake.pulls
    assert pull["head"]["ref"] == "rollback/flights"
    assert "Reason: late flights are missed" in pull["body"]
    merge(origin, "rollback/flights", how, f"{pull['title']} (#11)\n\n{pull['body']}")
    assert releases.current(FLIGHTS, "production") == release(2)
    assert releases.withdrawn(FLIGHTS, "production") == {"flights:3"}
    assert releases.history(FLIGHTS, "production")[0].kind == "rollback"


# --- what can go wrong -------------------------------------------------------------------------------------


def ask(github: GitHub, branch: str = "promote/flights"):
    return github.ensure(branch, "main", "title", "body\n")


def test_an_answer_that_was_lost_makes_no_second_request(github, fake, releases):
    releases.propose_promotion(FLIGHTS)
    fake.lose_answers = 1
    assert ask(github).number == 11
    assert len(fake.pulls) == 1


def test_a_busy_github_is_asked_again(github, fake, releases):
    releases.propose_promotion(FLIGHTS)
    fake.failures = [(502, {}, "Server Error"), (429, {"Retry-After": "0"}, "secondary rate limit")]
    assert ask(github).outcome == "opened"


def test_a_long_rate_limit_is_told_and_not_waited_for(github, fake):
    fake.failures = [(403, {"Retry-After": "3000"}, "API rate limit exceeded")]
    with pytest.raises(GitHubUnreachable, match=r"rate limit exceeded.*3000 s"):
        ask(github)
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("status", "message", "error", "told"),
    [
        (401, "Bad credentials", GitHubLoginRefused, "MLOPS_GITHUB_TOKEN expired"),
        (403, "Resource not accessible by integration", GitHubLoginRefused, "pull requests: write"),
        (404, "Not Found", GitHubLoginRefused, "acme/models"),
        (422, "Validation Failed", GitHubRefused, "hold both branches"),
    ],
)
def test_each_refusal_says_what_to_do(github, fake, status, message, error, told):
    fake.failures = [(status, {}, message)]
    with pytest.raises(error) as caught:
        ask(github)
    assert message in str(caught.value)
    assert told in str(caught.value)
    assert "ghp_good" not in str(caught.value)


def test_a_github_that_is_away_is_unreachable(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(GitHubUnreachable, match="does not answer"):
        ask(GitHub("acme/models", "http://127.0.0.1:9", "t"))


@pytest.mark.parametrize(
    ("remote", "settings", "found"),
    [
        ("https://github.com/acme/models.git", {}, "acme/models"),
        ("https://github.com/acme/models", {}, "acme/models"),
        ("git@github.com:acme/models.git", {}, "acme/models"),
        ("ssh://git@ssh.github.com:443/acme/models.git", {}, "acme/models"),
        (
            "https://git.corp.example/acme/models",
            {"MLOPS_GITHUB_API": "https://git.corp.example/api/v3"},
            "acme/models",
        ),
        ("https://gitlab.com/acme/models.git", {}, None),
        ("/srv/github.com/acme/models.git", {}, None),
        ("https://mirror.example/x.git", {"MLOPS_GITHUB_REPOSITORY": "acme/models"}, "acme/models"),
    ],
)
def test_which_repositories_are_on_github(remote, settings, found, tmp_path):
    env = {"MLOPS_REMOTE": remote, **settings}
    github = GitHub.of(Settings.load(env, root=tmp_path), {**env, "MLOPS_GIT_TOKEN": "for-git"})
    assert (github.repository if github else None) == found
    if github:
        assert github.token == (None if "mirror" in remote else "for-git"), (
            "a token for one host is not shown to another"
        )
        assert "for-git" not in repr(github)


def test_a_repository_that_is_no_name_is_refused(tmp_path):
    env = {"MLOPS_GITHUB_REPOSITORY": "https://github.com/acme/models"}
    with pytest.raises(GitHubInvalid, match="owner/name"):
        GitHub.of(Settings.load(env, root=tmp_path), env)


# --- the forge ---------------------------------------------------------------------------------------------


def test_a_remote_on_no_known_host_is_a_forge_without_reviews(tmp_path):
    (tmp_path / "apps").mkdir()
    forge = forge_of(Settings.load({"MLOPS_REMOTE": "git@git.example.com:a/b.git"}, root=tmp_path), {})
    assert (forge.reviews, forge.web, forge.commit_page("a" * 40)) == (None, None, None)
    assert not forge.set_status("a" * 40, "success", "rollout", "live")


def test_a_text_for_a_remote_without_pages_has_no_links(releases):
    releases.merge_promotion(releases.propose_promotion(FLIGHTS))
    releases.bump(FLIGHTS, "staging", release(3, code="d" * 40), "x")
    text = write_text(releases.propose_promotion(FLIGHTS), Evidence(), PlainRemote(), LARGEST_BODY)
    assert f"`{'d' * 12}`" in text
    assert "](" not in text.partition("### Before merging")[0]


def test_closing_a_pull_request_leaves_it_unmerged_and_is_done_once(github, fake, releases):
    releases.propose_promotion(FLIGHTS)
    number = ask(github).number
    assert github.close("promote/flights", "main") == number
    assert [pull["state"] for pull in fake.pulls] == ["closed"]
    assert github.close("promote/flights", "main") is None


def test_a_status_stands_beside_the_commit(github, fake, origin):
    commit = git(origin, "rev-parse", "main")
    fake.failures = [(502, {}, "Bad gateway")]
    assert github.set_status(commit, "success", "mlops/staging", "live " + "x" * 200, "https://mlops.example.com")
    (status,) = fake.statuses
    assert (status["sha"], status["state"], status["context"]) == (commit, "success", "mlops/staging")
    assert len(status["description"]) == 140
    with pytest.raises(GitHubRefused, match="No commit found"):
        github.set_status("0" * 40, "failure", "mlops/staging", "x")


# --- the text ----------------------------------------------------------------------------------------------


def test_the_text_compares_with_what_production_runs_now(releases, github):
    releases.merge_promotion(releases.propose_promotion(FLIGHTS))
    worse = release(3, code="d" * 40).model_copy(update={"metrics": {"roc_auc": 0.7, "brier": 0.1}})
    releases.bump(FLIGHTS, "staging", worse, "x")
    text = write_text(releases.propose_promotion(FLIGHTS), Evidence(), github, LARGEST_BODY)
    assert "| Bento | flights:2 | flights:3 |  |" in text
    assert "| roc_auc | 0.7200 | 0.7000 | 0.0200 worse |" in text
    assert "| brier |  | 0.1000 |  |" in text
    assert f"[compare]({github.web}/compare/{'c' * 40}...{'d' * 40})" in text


def test_a_text_that_is_too_long_is_cut_with_a_note_and_stays_whole_around_it(releases, github, fake):
    proposal = releases.propose_promotion(FLIGHTS)
    long = Evidence(verdict=VERDICT + "| ✅ | a rule |\n" * 9000, card=CARD + "a line of the card </details>\n" * 9000)
    text = write_text(proposal, long, github, LARGEST_BODY)
    assert LARGEST_BODY - 10_000 < len(text) < LARGEST_BODY
    assert text.count("*Cut here;") == 2
    assert (text.count("<details>"), text.count("</details>")) == (1, 1)
    assert "- [ ] Staging" in text
    assert text.rstrip().endswith(proposal.trailers)
    assert github.ensure(proposal.branch, "main", proposal.title, text).outcome == "opened"


@pytest.mark.slow
def test_verdict_and_card_are_found_in_mlflow_when_the_run_was_elsewhere(tmp_path):
    from pipelines.runs.tracking import mlflow_client

    settings = Settings.load({}, root=tmp_path, home=tmp_path / "home")
    (tmp_path / "home").mkdir()
    client = mlflow_client(settings.tracking_uri)
    run = client.create_run(client.create_experiment("flights", (tmp_path / "artifacts").as_uri())).info.run_id
    wanted = release(2).model_copy(update={"run": run})
    assert "has no verdict" in find_evidence(settings, wanted).problem
    client.log_text(run, VERDICT, "evaluation/verdict.md")
    client.log_text(run, CARD, "evaluation/model-card.md")
    found = find_evidence(settings, wanted)
    assert (found.verdict, found.card, found.problem) == (VERDICT.strip(), CARD.strip(), None)
    assert "did not give run" in find_evidence(settings, release(3)).problem


@pytest.mark.slow
def test_the_run_is_linked_where_mlflow_has_pages(tmp_path, mlflow_server):
    from pipelines.runs.tracking import mlflow_client

    client = mlflow_client(mlflow_server)
    experiment = client.create_experiment("flights")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, VERDICT, "evaluation/verdict.md")
    settings = Settings.load({"MLOPS_TRACKING_URI": mlflow_server}, root=tmp_path, home=tmp_path / "home")
    page = f"{mlflow_server}/#/experiments/{experiment}/runs/{run}"
    wanted = release(2).model_copy(update={"run": run})
    assert find_evidence(settings, wanted) == Evidence(verdict=VERDICT.strip(), run_url=page)
    here = settings.runs / "flights-2"
    (here / "evaluation").mkdir(parents=True)
    (here / "evaluation" / "verdict.md").write_text("the one of this machine")
    Published(mlflow_run=run, records=1).write(here / "published.json")
    assert find_evidence(settings, wanted) == Evidence(verdict="the one of this machine", run_url=page)


@pytest.fixture
def mlflow_server(tmp_path):
    """A real MLflow on a free port of loopback, with a database and artifacts of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "files"),
    ]
    log = (tmp_path / "server.log").open("wb")
    with subprocess.Popen([*command, *store], stdout=log, stderr=log, start_new_session=True) as server:
        try:
            deadline = time.monotonic() + 200
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert server.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "MLflow did not start"
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def test_only_the_release_file_changes_on_the_branch(releases, origin):
    proposal = releases.propose_promotion(FLIGHTS)
    changed = git(origin, "diff", "--name-only", "main", proposal.branch)
    assert changed == release_path(FLIGHTS, "production")
