"""Releases on remotes that want a login: git over HTTP and over SSH, and every way in which they can say no."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.git.credentials import AccessInvalid, GitAccess
from pipelines.git.errors import (
    BranchMissing,
    BranchProtected,
    HostKeyUnknown,
    LoginRefused,
    PushDenied,
    ReadOnlyLogin,
    RemoteUnreachable,
    RepositoryMissing,
    explain,
)
from pipelines.git.repository import Repository
from pipelines.release.releases import Releases
from pipelines.runners.launch import prepare
from pipelines.variables import VariableWrong
from tests.git_servers import GitOverHttp, git_over_ssh, why_no_sshd
from tests.integration.test_releases import FLIGHTS, origin, release, subjects
from tests.pipeline_cases import NAME, git

__all__ = ["origin"]

TOKEN = "ghs_a-token-that-nobody-may-see"


@pytest.fixture(autouse=True)
def no_login_of_this_machine(monkeypatch, tmp_path):
    """Neither the developer's own keys and helpers nor a CI job's."""
    for name in list(os.environ):
        if name.startswith(("MLOPS_GIT_", "GIT_CONFIG", "GIT_SSH", "GIT_ASKPASS", "SSH_A")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def host(origin):
    git(origin, "config", "http.receivepack", "true")
    with GitOverHttp(origin.parent, TOKEN, readers=("reader",)).serve() as served:
        yield served


def over(url: str, folder: Path) -> Releases:
    return Releases(Repository(url, "main", folder / "cache.git"))


def protect(origin: Path, words: str) -> None:
    hook = origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    hook.chmod(0o755)


# --- over HTTP with a token --------------------------------------------------------------------------------


def test_release_rollback_and_promotion_over_http_with_a_token(host, origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    releases = over(f"{host.url}/origin.git", tmp_path)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump(FLIGHTS, "staging", release(2), "x")
    releases.merge_promotion(releases.propose_promotion(FLIGHTS))
    releases.rollback(FLIGHTS, "staging", "bad")
    assert subjects(origin) == [
        "rollback(flights): 2 → 1 in staging",
        "promote(flights): first release, 2 in production",
        "release(flights): 1 → 2 in staging",
        "release(flights): first release, 1 in staging",
        "start",
    ]
    assert git(origin, "branch", "--list", "promote/*") == ""


def test_a_token_may_lie_in_a_file_and_is_read_again_when_it_was_renewed(host, origin, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("expired\n")
    monkeypatch.setenv("MLOPS_GIT_TOKEN_FILE", str(file))
    releases = over(f"{host.url}/origin.git", tmp_path)
    with pytest.raises(LoginRefused, match="expired"):
        releases.current(FLIGHTS, "staging")
    file.write_text(f"{TOKEN}\n")
    assert releases.bump(FLIGHTS, "staging", release(1), "x")


def test_the_token_is_in_no_argument_no_error_no_file_and_no_credential_helper(host, origin, tmp_path, monkeypatch):
    kept = tmp_path / "kept-by-a-helper"
    (tmp_path / "home" / ".gitconfig").write_text(f"[credential]\n\thelper = store --file {kept}\n")
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    commands = []
    run = subprocess.run

    def spy(command, **options):
        commands.append(" ".join(command))
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", spy)
    releases = over(f"{host.url}/origin.git", tmp_path)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    protect(origin, f"the server repeats {TOKEN}")
    with pytest.raises(PushDenied, match=r"the server repeats \*\*\*") as caught:
        releases.bump(FLIGHTS, "staging", release(2), "x")
    assert TOKEN not in str(caught.value)
    assert commands
    assert not any(TOKEN in command for command in commands)
    assert not kept.exists()
    written = [path for path in (tmp_path / "cache.git").rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in written)
    assert TOKEN not in repr(GitAccess.load())


def test_a_redirect_to_another_host_gets_no_token(host, origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    with GitOverHttp(origin.parent, "another").serve() as stranger:
        host.elsewhere = stranger.url.replace("127.0.0.1", "localhost")
        with pytest.raises(LoginRefused):
            over(f"{host.url}/origin.git", tmp_path).current(FLIGHTS, "staging")
        assert stranger.seen, "git did follow the redirect"
        assert [authorization for _, _, authorization in stranger.seen if authorization] == []


@pytest.mark.parametrize(
    ("token", "error", "told"),
    [
        (None, LoginRefused, "wants a login"),
        ("wrong", LoginRefused, "refused the login"),
        ("reader", ReadOnlyLogin, "does not let this login write"),
    ],
)
def test_a_login_that_is_missing_wrong_or_read_only_is_told_apart(
    host, origin, tmp_path, monkeypatch, token, error, told
):
    if token:
        monkeypatch.setenv("MLOPS_GIT_TOKEN", token)
    with pytest.raises(error, match=told) as caught:
        over(f"{host.url}/origin.git", tmp_path).bump(FLIGHTS, "staging", release(1), "x")
    assert caught.value.hint
    assert subjects(origin) == ["start"]


def test_whether_it_may_push_is_known_before_a_run_trains_for_hours(host, lab, monkeypatch):
    git(lab.root, "push", "-q", "--force", str(host.folder / "origin.git"), "HEAD:main")
    settings = replace(lab.settings, remote=f"{host.url}/origin.git")
    for token, error in (("wrong", LoginRefused), ("reader", ReadOnlyLogin)):
        monkeypatch.setenv("MLOPS_GIT_TOKEN", token)
        with pytest.raises(error):
            prepare(settings, NAME)
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    assert prepare(settings, NAME) == git(lab.root, "rev-parse", "HEAD")
    with pytest.raises(BranchMissing):
        prepare(replace(settings, branch="other"), NAME)
    assert git(host.folder / "origin.git", "branch", "--format=%(refname:short)") == "main", "nothing was pushed"


def test_a_protected_branch_is_told_with_what_to_allow_for_staging(host, origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    protect(origin, "error: GH006: Protected branch update failed for refs/heads/main.")
    with pytest.raises(BranchProtected, match="protects this branch") as caught:
        over(f"{host.url}/origin.git", tmp_path).bump(FLIGHTS, "staging", release(1), "x")
    assert "bypass list" in caught.value.hint
    assert subjects(origin) == ["start"]


def test_a_repository_or_branch_that_is_not_there_is_told_from_a_host_that_is_away(host, origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    with pytest.raises(RepositoryMissing, match=r"nothing\.git"):
        over(f"{host.url}/nothing.git", tmp_path).current(FLIGHTS, "staging")
    with pytest.raises(BranchMissing, match="'releases'"):
        Repository(f"{host.url}/origin.git", "releases", tmp_path / "c.git").fetch()
    with pytest.raises(RemoteUnreachable, match="cannot be reached"):
        over("http://127.0.0.1:9/origin.git", tmp_path).current(FLIGHTS, "staging")


def test_a_host_that_is_busy_for_a_moment_is_asked_again(host, origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    host.answers = [503, 502]
    assert over(f"{host.url}/origin.git", tmp_path).bump(FLIGHTS, "staging", release(1), "x")
    assert host.answers == []
    assert len(subjects(origin)) == 2


def test_a_push_whose_answer_was_lost_is_known_by_its_commit(host, origin, tmp_path, monkeypatch):
    """It had landed: the caller must get its commit and not hear that there was nothing to do."""
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    host.lose_answers = 1
    commit = over(f"{host.url}/origin.git", tmp_path).bump(FLIGHTS, "staging", release(1), "x")
    assert host.lose_answers == 0
    assert git(origin, "rev-parse", "main") == commit
    assert len(subjects(origin)) == 2


# --- over SSH with a key -----------------------------------------------------------------------------------


@pytest.fixture
def ssh(origin, tmp_path, monkeypatch):
    if reason := why_no_sshd():
        pytest.skip(reason)
    scratch = tmp_path / "ssh"
    scratch.mkdir()
    with git_over_ssh(origin, scratch) as served:
        monkeypatch.setenv("MLOPS_GIT_SSH_KEY", str(served.key))
        monkeypatch.setenv("MLOPS_GIT_KNOWN_HOSTS", str(served.known_hosts))
        yield served


def test_release_and_rollback_over_ssh_with_a_key(ssh, origin, tmp_path):
    releases = over(ssh.url, tmp_path)
    releases.bump(FLIGHTS, "staging", release(1), "x")
    releases.bump(FLIGHTS, "staging", release(2), "x")
    releases.rollback(FLIGHTS, "staging", "bad")
    assert subjects(origin)[0] == "rollback(flights): 2 → 1 in staging"


def test_a_key_that_the_host_does_not_know_is_refused(ssh, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_SSH_KEY", str(ssh.key.with_name("stranger")))
    with pytest.raises(LoginRefused, match="refused the login"):
        over(ssh.url, tmp_path).current(FLIGHTS, "staging")


def test_a_key_that_others_may_read_is_not_used(ssh, tmp_path):
    ssh.key.chmod(0o644)
    with pytest.raises(LoginRefused, match="others on this machine may read the SSH key"):
        over(ssh.url, tmp_path).current(FLIGHTS, "staging")


def test_a_host_that_nobody_vouches_for_is_told_nothing(ssh, tmp_path):
    ssh.known_hosts.write_text("")
    with pytest.raises(HostKeyUnknown, match="not among the SSH hosts to trust") as caught:
        over(ssh.url, tmp_path).current(FLIGHTS, "staging")
    assert "ssh-keyscan" in caught.value.hint
    assert ssh.known_hosts.read_text() == "", "it is not trusted by being asked once"


def test_a_host_with_another_key_than_before_is_told_nothing(ssh, tmp_path):
    stranger = " ".join(ssh.key.with_name("stranger.pub").read_text().split()[:2])
    ssh.known_hosts.write_text(f"[127.0.0.1]:{ssh.port} {stranger}\n")
    with pytest.raises(HostKeyUnknown, match="another SSH host key"):
        over(ssh.url, tmp_path).current(FLIGHTS, "staging")


def test_an_ssh_host_that_is_away_is_unreachable(ssh, tmp_path):
    with pytest.raises(RemoteUnreachable, match="cannot be reached"):
        over("ssh://root@127.0.0.1:9/origin.git", tmp_path).current(FLIGHTS, "staging")


# --- in whose name -----------------------------------------------------------------------------------------


def test_commits_are_in_the_name_that_was_given(origin, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_AUTHOR", "Release Robot <robot@example.com>")
    over(str(origin), tmp_path).bump(FLIGHTS, "staging", release(1), "x")
    assert git(origin, "log", "-1", "--format=%an %ae %cn %ce", "main") == " ".join(
        ["Release Robot robot@example.com"] * 2
    )


def test_commits_in_a_name_are_signed_when_git_config_says_so(origin, tmp_path, monkeypatch):
    key = tmp_path / "signing"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"robot@example.com {key.with_suffix('.pub').read_text()}")
    (tmp_path / "home" / ".gitconfig").write_text(
        f"[commit]\n\tgpgsign = true\n[gpg]\n\tformat = ssh\n[user]\n\tsigningkey = {key}\n"
        f'[gpg "ssh"]\n\tallowedSignersFile = {signers}\n'
    )
    releases = over(str(origin), tmp_path)
    monkeypatch.setenv("MLOPS_GIT_AUTHOR", "Release Robot <robot@example.com>")
    signed = releases.bump(FLIGHTS, "staging", release(1), "x")
    assert git(origin, "log", "-1", "--format=%G?", signed) == "G"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MLOPS_GIT_AUTHOR", "robot", "Name <name@example.com>"),
        ("MLOPS_GIT_AUTHOR", "a\nb <c@d>", "Name <name@example.com>"),
        ("MLOPS_GIT_TOKEN_FILE", "/nowhere/token", "cannot be read"),
        ("MLOPS_GIT_SSH_KEY", "/nowhere/key", "is no file"),
        ("MLOPS_GIT_KNOWN_HOSTS", "/", "is no file"),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(name, value, told):
    with pytest.raises((AccessInvalid, VariableWrong), match=told) as caught:
        GitAccess.load({name: value})
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        (f"https://robot:{TOKEN}@git.example.com/r.git", "holds a password"),
        ("http://git.example.com/r.git", "not sent to git.example.com over http"),
    ],
)
def test_a_token_is_never_where_others_could_read_it(remote, told, tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPS_GIT_TOKEN", TOKEN)
    with pytest.raises(AccessInvalid, match=told) as caught:
        Repository(remote, "main", tmp_path / "c.git").fetch()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("remote: error: GH013: Repository rule violations found for refs/heads/main.", BranchProtected),
        ("remote: GitLab: You are not allowed to push code to protected branches on this project.", BranchProtected),
        ("remote: TF402455: Pushes to this branch are not permitted; you must use a pull request", BranchProtected),
        ("ERROR: The key you are authenticating with has been marked as read only.", ReadOnlyLogin),
        ("remote: Permission to acme/models.git denied to robot.", ReadOnlyLogin),
        ("remote: Write access to repository not granted.", ReadOnlyLogin),
        ("remote: Repository not found.", RepositoryMissing),
        ("fatal: unable to access 'https://h/webhook declined/': Could not resolve host: h", RemoteUnreachable),
    ],
)
def test_the_words_of_hosts_that_cannot_be_reached_from_here(told, error):
    """As GitHub, GitLab and Azure DevOps document them; their servers cannot run here."""
    assert type(explain("https://h/webhook declined/", told, writing=True)) is error
