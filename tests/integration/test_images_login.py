"""Logins: Basic and token, from the environment, Docker's file and credential helpers, to real registries."""

import base64
import json
import os
from pathlib import Path

import pytest

from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.packaging.oci.errors import CredentialsBroken, LoginWanted, NotAllowed, RegistryLoginRefused
from tests.image_cases import bento_folder, push, push_base
from tests.registries import proxy, registry
from tests.token_server import token_server

# "right", by bcrypt: docker-registry takes nothing else.
HTPASSWD = "pipeline:$2b$05$WQVtx.gYxCB9r6yVW4pFteLAnk4TDQaQB7Ov4do1AHi4EU4p25WIG\n"
BASIC = ("pipeline", "right")


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A registry that wants a user and a password."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "htpasswd").write_text(HTPASSWD)
    with registry(folder, auth={"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}) as running:
        yield running


@pytest.fixture(scope="module")
def base(closed):
    return push_base(closed.host, auth=BASIC)


def environ(host: str, folder: Path, **more: str) -> dict[str, str]:
    return {"MLOPS_IMAGES": f"{host}/team/models", "HOME": str(folder), "PATH": os.environ["PATH"], **more}


def docker_login(folder: Path, host: str, username: str, password: str) -> None:
    encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
    docker_config(folder, {"auths": {host: {"auth": encoded}}})


def docker_config(folder: Path, config: object) -> None:
    (folder / ".docker").mkdir(exist_ok=True)
    (folder / ".docker" / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))


def helper(folder: Path, script: str) -> str:
    """A credential helper called `test`, first on the path."""
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


class TestBasic:
    def test_none_is_wanted(self, closed, base, tmp_path):
        with pytest.raises(LoginWanted, match=f"{closed.host} wants a login") as caught:
            push(bento_folder(tmp_path / "b"), closed.host, base, RegistryAccess.load(environ(closed.host, tmp_path)))
        assert f"docker login {closed.host}" in str(caught.value)

    def test_from_the_environment(self, closed, base, tmp_path):
        login = {"MLOPS_REGISTRY_USERNAME": "pipeline", "MLOPS_REGISTRY_PASSWORD": "right"}
        access = RegistryAccess.load(environ(closed.host, tmp_path, **login))
        assert push(bento_folder(tmp_path / "b", weight=0.1), closed.host, base, access).mounted == 2

    def test_a_wrong_one_is_refused_by_name_and_not_shown(self, closed, base, tmp_path):
        login = {"MLOPS_REGISTRY_USERNAME": "pipeline", "MLOPS_REGISTRY_PASSWORD": "wrong-secret"}
        access = RegistryAccess.load(environ(closed.host, tmp_path, **login))
        with pytest.raises(RegistryLoginRefused, match="does not accept the login of pipeline") as caught:
            push(bento_folder(tmp_path / "b"), closed.host, base, access)
        assert "wrong-secret" not in f"{caught.value}{access}"

    def test_the_environment_s_login_goes_to_no_other_registry(self, closed, base, tmp_path):
        login = {"MLOPS_REGISTRY_USERNAME": "pipeline", "MLOPS_REGISTRY_PASSWORD": "right"}
        with registry(tmp_path / "open") as other, proxy(other.host) as between:
            seen = []

            def watch(request, ask):
                seen.append(request.header("Authorization"))
                return ask(request)

            between.trick = watch
            open_base = push_base(other.host).replace(other.host, between.host)
            access = RegistryAccess.load(environ(closed.host, tmp_path, **login))
            assert push(bento_folder(tmp_path / "b", weight=0.2), closed.host, open_base, access).copied == 2
        assert seen
        assert not any(seen)

    def test_from_docker_login(self, closed, base, tmp_path):
        docker_login(tmp_path, closed.host, "pipeline", "right")
        access = RegistryAccess.load(environ(closed.host, tmp_path))
        assert push(bento_folder(tmp_path / "b", weight=0.3), closed.host, base, access).uploaded > 0

    def test_from_a_mounted_secret(self, closed, base, tmp_path):
        encoded = base64.b64encode(b"pipeline:right").decode()
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "config.json").write_text(json.dumps({"auths": {closed.host: {"auth": encoded}}}))
        access = RegistryAccess.load(environ(closed.host, tmp_path, DOCKER_CONFIG=str(tmp_path / "secret")))
        assert push(bento_folder(tmp_path / "b", weight=0.4), closed.host, base, access).uploaded > 0

    def test_with_a_base_in_a_registry_that_wants_one_too(self, closed, base, tmp_path):
        with registry(tmp_path / "open") as other:
            docker_login(tmp_path, closed.host, "pipeline", "right")
            access = RegistryAccess.load(environ(other.host, tmp_path))
            assert push(bento_folder(tmp_path / "b"), other.host, base, access).copied == 2


class TestHelpers:
    def test_one_for_this_registry(self, closed, base, tmp_path, monkeypatch):
        docker_config(tmp_path, {"credHelpers": {closed.host: "test"}, "credsStore": "nowhere"})
        said = '{"ServerURL":"","Username":"pipeline","Secret":"right"}'
        script = f"""[ "$1" = get ] && [ "$(cat)" = {closed.host} ] && echo '{said}'"""
        monkeypatch.setenv("PATH", helper(tmp_path, script))
        access = RegistryAccess.load(environ(closed.host, tmp_path))
        assert push(bento_folder(tmp_path / "b", weight=0.5), closed.host, base, access).uploaded > 0

    def test_one_for_all_registries_that_knows_none_of_this(self, closed, base, tmp_path, monkeypatch):
        docker_config(tmp_path, {"credsStore": "test"})
        monkeypatch.setenv("PATH", helper(tmp_path, "echo 'credentials not found in native keychain'; exit 1"))
        with pytest.raises(LoginWanted):
            push(bento_folder(tmp_path / "b"), closed.host, base, RegistryAccess.load(environ(closed.host, tmp_path)))

    @pytest.mark.parametrize(
        ("script", "problem"),
        [("echo 'no session, run aws sso login'; exit 1", "no session, run aws sso login"), ("echo hello", "else")],
    )
    def test_one_that_fails_says_why(self, tmp_path, monkeypatch, script, problem):
        docker_config(tmp_path, {"credsStore": "test"})
        monkeypatch.setenv("PATH", helper(tmp_path, script))
        with pytest.raises(CredentialsBroken, match=problem):
            RegistryAccess.load(environ("a.example.com", tmp_path)).credentials("a.example.com")

    def test_one_that_is_not_installed_is_named(self, tmp_path):
        docker_config(tmp_path, {"credHelpers": {"a.example.com": "ecr-login"}})
        with pytest.raises(CredentialsBroken, match="docker-credential-ecr-login, which is not installed"):
            RegistryAccess.load(environ("a.example.com", tmp_path)).credentials("a.example.com")

    def test_a_broken_file_is_named(self, tmp_path):
        docker_config(tmp_path, "{")
        with pytest.raises(CredentialsBroken, match=r"config\.json cannot be read as JSON"):
            RegistryAccess.load(environ("a.example.com", tmp_path)).credentials("a.example.com")

    def test_docker_hub_s_login_is_found_under_its_old_address(self, tmp_path):
        docker_login(tmp_path, "https://index.docker.io/v1/", "someone", "secret")
        found = RegistryAccess.load(environ("a.example.com", tmp_path)).credentials("registry-1.docker.io")
        assert found is not None
        assert (found.username, found.password) == ("someone", "secret")


class TestTokens:
    @pytest.fixture
    def issuer(self, tmp_path):
        with token_server(tmp_path / "issuer") as made:
            yield made

    @pytest.fixture
    def guarded(self, issuer, tmp_path):
        """A registry that takes tokens, with a base put there before it did."""
        with registry(tmp_path / "guarded") as running:
            base = push_base(running.host)
            running.restart(auth=issuer.auth)
            yield running.host, base

    def access(self, host: str, folder: Path, password: str = "right") -> RegistryAccess:
        login = {"MLOPS_REGISTRY_USERNAME": "pipeline", "MLOPS_REGISTRY_PASSWORD": password}
        return RegistryAccess.load(environ(host, folder, **login))

    def test_one_token_does_for_the_whole_publish_mounts_included(self, guarded, issuer, tmp_path):
        host, base = guarded
        published = push(bento_folder(tmp_path / "b"), host, base, self.access(host, tmp_path))

        assert published.mounted == 2
        assert issuer.asked == [["repository:mlops/serving-base:pull", "repository:team/models/tiny-table:pull,push"]]

    def test_one_that_runs_out_half_way_is_renewed(self, guarded, issuer, tmp_path):
        host, base = guarded
        issuer.seconds = -120  # beyond the minute that clocks may differ by
        old = f"Bearer {issuer.token(['repository:team/models/tiny-table:pull,push'], 'pipeline')}"
        issuer.seconds = 300
        with proxy(host) as between:
            aged = []

            def age(request, ask):
                if request.method == "PUT" and "/blobs/uploads/" in request.path and not aged:
                    aged.append(request.path)
                    request.headers.replace_header("Authorization", old)
                return ask(request)

            between.trick = age
            access, through = self.access(between.host, tmp_path), base.replace(host, between.host)
            assert push(bento_folder(tmp_path / "b"), between.host, through, access).mounted == 2
        assert (len(aged), len(issuer.asked)) == (1, 2)

    def test_a_wrong_password(self, guarded, tmp_path):
        host, base = guarded
        with pytest.raises(RegistryLoginRefused, match="login of pipeline"):
            push(bento_folder(tmp_path / "b"), host, base, self.access(host, tmp_path, "wrong"))

    def test_nobody_in_particular_may_pull_what_is_public_but_not_push(self, guarded, issuer, tmp_path):
        host, base = guarded
        issuer.public = {"mlops/serving-base"}
        with pytest.raises((LoginWanted, NotAllowed)):
            push(bento_folder(tmp_path / "b"), host, base, RegistryAccess.load(environ(host, tmp_path)))

        with registry(tmp_path / "open") as other:
            access = RegistryAccess.load(environ(other.host, tmp_path))
            assert push(bento_folder(tmp_path / "c"), other.host, base, access).copied == 2

    def test_a_refresh_token_as_azure_s_login_leaves_it(self, guarded, tmp_path):
        host, base = guarded
        docker_config(tmp_path, {"auths": {host: {"identitytoken": "a-refresh-token"}}})
        access = RegistryAccess.load(environ(host, tmp_path))
        assert push(bento_folder(tmp_path / "b"), host, base, access).mounted == 2
