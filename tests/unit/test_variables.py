"""Environment variables: declared once, read alike, listed on one page."""

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import SecretStr

import bento.variables as server
from pipelines.cli import variables as catalog
from pipelines.cli.typos import likely_typos
from pipelines.git.credentials import GitAccess, GitVariables
from pipelines.git.github import GitHubVariables
from pipelines.monitor.options import CAUSES, Options
from pipelines.packaging.oci.credentials import RegistryAccess
from pipelines.places import Places
from pipelines.settings import Settings
from pipelines.variables import Variables, VariableWrong, variable

ROOT = Path(__file__).parents[2]
SECRET = "s3cret-value"
READS = re.compile(r"\b(?:environ|getenv)\b")


class Sample(Variables):
    """A group."""

    title: ClassVar[str] = "Sample"

    on: bool = variable("MLOPS_T_ON", False, "Yes or no.")
    count: int = variable("MLOPS_T_COUNT", 1, "A number.", ge=1)
    kind: Literal["a", "b"] = variable("MLOPS_T_KIND", "a", "One of two.")
    token: SecretStr | None = variable("MLOPS_T_TOKEN", None, "A secret.", also=("OTHER_TOKEN",))


class ServerSample(server.Variables):
    """The same group for a model server."""

    title: ClassVar[str] = "Sample"

    on: bool = variable("MLOPS_T_ON", False, "Yes or no.")
    count: int = variable("MLOPS_T_COUNT", 1, "A number.", ge=1)
    kind: Literal["a", "b"] = variable("MLOPS_T_KIND", "a", "One of two.")
    token: SecretStr | None = variable("MLOPS_T_TOKEN", None, "A secret.", also=("OTHER_TOKEN",))


BOTH = pytest.mark.parametrize(
    ("group", "wrong"), [(Sample, VariableWrong), (ServerSample, server.VariableWrong)], ids=["pipelines", "bento"]
)


@BOTH
class TestReading:
    @pytest.mark.parametrize("yes", ["1", "yes", "YES", "true", "on", "y"])
    @pytest.mark.parametrize("no", ["0", "no", "No", "false", "off", "n"])
    def test_every_way_to_say_yes_or_no_is_understood(self, group, wrong, yes, no):
        assert group.load({"MLOPS_T_ON": yes}).on is True
        assert group.load({"MLOPS_T_ON": no}).on is False

    def test_an_empty_variable_counts_as_not_set(self, group, wrong):
        assert group.load({"MLOPS_T_ON": "", "MLOPS_T_COUNT": "", "MLOPS_T_TOKEN": ""}) == group()

    def test_names_are_taken_in_exactly_their_case(self, group, wrong):
        assert group.load({"mlops_t_count": "5"}).count == 1

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("MLOPS_T_ON", "maybe", "MLOPS_T_ON: expected yes or no, as 1, yes, true, on or 0, no, false, off"),
            ("MLOPS_T_COUNT", "many", r"MLOPS_T_COUNT: expected a whole number \(got 'many'\)"),
            ("MLOPS_T_COUNT", "0", r"MLOPS_T_COUNT: expected at least 1 \(got '0'\)"),
            ("MLOPS_T_KIND", "c", r"MLOPS_T_KIND: expected 'a' or 'b' \(got 'c'\)"),
        ],
    )
    def test_a_wrong_value_is_an_error_that_says_what_would_be_right(self, group, wrong, name, value, message):
        with pytest.raises(wrong, match=message):
            group.load({name: value})

    def test_all_wrong_values_are_named_at_once(self, group, wrong):
        with pytest.raises(wrong) as caught:
            group.load({"MLOPS_T_ON": "maybe", "MLOPS_T_COUNT": "many", "MLOPS_T_KIND": "b"})
        assert [line.partition(":")[0] for line in str(caught.value).splitlines()[:2]] == [
            "MLOPS_T_ON",
            "MLOPS_T_COUNT",
        ]

    def test_another_program_s_variable_is_asked_second(self, group, wrong):
        assert group.load({"OTHER_TOKEN": "other"}).token.get_secret_value() == "other"
        assert group.load({"OTHER_TOKEN": "other", "MLOPS_T_TOKEN": "own"}).token.get_secret_value() == "own"

    def test_a_class_made_by_hand_reads_nothing(self, group, wrong, monkeypatch):
        monkeypatch.setenv("MLOPS_T_COUNT", "9")
        assert group().count == 1
        assert group(count=3).count == 3
        assert group.load().count == 9


@BOTH
class TestSecrets:
    def test_one_may_come_from_a_file(self, group, wrong, tmp_path):
        file = tmp_path / "token"
        file.write_text(f"{SECRET}\n")
        assert group.load({"MLOPS_T_TOKEN_FILE": str(file)}).token.get_secret_value() == SECRET

    def test_the_variable_wins_and_then_the_file_is_not_even_read(self, group, wrong):
        env = {"MLOPS_T_TOKEN": SECRET, "MLOPS_T_TOKEN_FILE": "/nowhere"}
        assert group.load(env).token.get_secret_value() == SECRET

    def test_what_is_no_secret_has_no_file(self, group, wrong, tmp_path):
        file = tmp_path / "count"
        file.write_text("7")
        assert group.load({"MLOPS_T_COUNT_FILE": str(file)}).count == 1

    def test_a_file_that_cannot_be_read_or_is_empty_is_named(self, group, wrong, tmp_path):
        with pytest.raises(wrong, match="MLOPS_T_TOKEN_FILE: /nowhere cannot be read: No such file"):
            group.load({"MLOPS_T_TOKEN_FILE": "/nowhere"})
        empty, binary = tmp_path / "empty", tmp_path / "binary"
        empty.write_text("\n")
        binary.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(wrong, match="empty is empty; expected the value of MLOPS_T_TOKEN"):
            group.load({"MLOPS_T_TOKEN_FILE": str(empty)})
        with pytest.raises(wrong, match="not UTF-8"):
            group.load({"MLOPS_T_TOKEN_FILE": str(binary)})

    def test_none_is_shown(self, group, wrong):
        assert SECRET not in repr(group.load({"MLOPS_T_TOKEN": SECRET}))
        with pytest.raises(wrong) as caught:
            group.load({"MLOPS_T_TOKEN": SECRET, "MLOPS_T_COUNT": "many"})
        assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.__cause__} {caught.value.__context__}"


class TestGroups:
    def test_settings_keep_secrets_out_of_their_repr(self, tmp_path):
        env = {
            "MLOPS_STORE": f"postgresql://u:{SECRET}@db/x",
            "MLOPS_MONITOR_TOKEN": SECRET,
            "MLOPS_PRIVACY_KEY": SECRET,
        }
        settings = Settings.load(env, root=tmp_path)
        assert settings.store.endswith("@db/x")
        assert settings.monitor_token == settings.privacy_key == SECRET
        assert SECRET not in repr(settings)

    def test_settings_take_their_secrets_from_files_too(self, tmp_path):
        (tmp_path / "token").write_text(SECRET)
        settings = Settings.load({"MLOPS_MONITOR_TOKEN_FILE": str(tmp_path / "token")}, root=tmp_path)
        assert settings.monitor_token == SECRET

    def test_a_flag_that_is_neither_yes_nor_no_is_an_error_everywhere(self, tmp_path):
        assert Settings.load({"MLOPS_PUBLISH_LATER": "yes"}, root=tmp_path).publish_later
        with pytest.raises(VariableWrong, match="MLOPS_PUBLISH_LATER: expected yes or no") as caught:
            Settings.load({"MLOPS_PUBLISH_LATER": "later"}, root=tmp_path)
        assert "docs/settings.md" in caught.value.hint
        with pytest.raises(VariableWrong, match="MLOPS_START_RUNS: expected yes or no"):
            Options.load({"MLOPS_START_RUNS": "maybe"})

    def test_the_monitor_s_causes_may_be_none_or_some_in_any_order(self):
        assert Options.load({}).act_on == CAUSES
        assert Options.load({"MLOPS_ACT_ON": ""}).act_on == ()
        assert Options.load({"MLOPS_ACT_ON": "new-data, assessments"}).act_on == ("assessments", "new-data")

    def test_the_monitor_s_options(self):
        options = Options.load(
            {"MLOPS_EVALUATE_EVERY": "30s", "MLOPS_LONGEST_COOLDOWN": "0s", "MLOPS_MLFLOW_URL": "http://m/"}
        )
        assert (options.evaluate_every, options.longest_cooldown) == (timedelta(seconds=30), timedelta(0))
        assert options.mlflow == "http://m"

    def test_a_git_token_of_two_words_is_refused_without_being_shown(self):
        with pytest.raises(Exception, match="MLOPS_GIT_TOKEN: expected one token") as caught:
            GitAccess.load({"MLOPS_GIT_TOKEN": f"{SECRET} twice"})
        assert SECRET not in str(caught.value)

    def test_a_registry_s_password_may_come_from_a_file(self, tmp_path):
        (tmp_path / "password").write_text(SECRET)
        env = {
            "MLOPS_IMAGES": "r.example.com/models",
            "MLOPS_REGISTRY_USERNAME": "robot",
            "MLOPS_REGISTRY_PASSWORD_FILE": str(tmp_path / "password"),
        }
        access = RegistryAccess.load(env)
        assert access.credentials("r.example.com").password == SECRET
        assert SECRET not in repr(access)

    def test_github_s_own_variable_is_taken_where_ours_is_not_set(self):
        assert GitHubVariables.load({"GITHUB_TOKEN": SECRET}).token == SecretStr(SECRET)


class TestReference:
    def test_the_page_is_fresh(self, capsys):
        assert catalog.main([]) == 0, "run `python -m pipelines.cli.variables --write`"

    def test_a_stale_page_is_named_and_written_anew(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(catalog, "PAGE_FILE", tmp_path / "settings.md")
        monkeypatch.setattr(catalog, "NAMES_FILE", tmp_path / "names.py")
        assert catalog.main([]) == 1
        stale = capsys.readouterr().err
        assert "settings.md is stale" in stale
        assert "names.py is stale" in stale
        assert catalog.main(["--write"]) == 0
        assert catalog.main([]) == 0

    def test_every_group_is_on_the_page(self):
        def below(group):
            return {group, *(one for sub in group.__subclasses__() for one in below(sub))}

        declared = {group for base in (Variables, server.Variables) for group in below(base) - {base}}
        assert {group for group in declared if group.__module__.startswith(("pipelines", "bento"))} == set(
            catalog.GROUPS
        )

    def test_every_variable_has_its_row_and_a_meaning(self):
        page = catalog.reference_page()
        for group in catalog.GROUPS:
            for field in group.model_fields.values():
                assert f"| `{server.names_of(field)[0]}` |" in page
                assert (field.description or "").endswith((".", "…"))

    def test_every_name_in_code_and_manifests_is_declared(self):
        found = {}
        for folder in ("pipelines", "bento", "infrastructure", "apps", "clusters"):
            for path in (ROOT / folder).rglob("*"):
                if path.suffix in (".py", ".yaml", ".md", "") and path.is_file():
                    text = path.read_text(encoding="utf-8", errors="replace")
                    found |= dict.fromkeys(re.findall(r"\bMLOPS_[A-Z0-9_]*[A-Z0-9]\b(?!_)", text), path)
        askpass = {"MLOPS_ASKED_FOR", "MLOPS_ASKED_HOST", "MLOPS_ASKED_AS", "MLOPS_ASKED_TOKEN"}
        assert len(found) > 40
        assert {name: str(path) for name, path in found.items() if name not in catalog.known_names() | askpass} == {}

    def test_no_module_reads_a_variable_of_ours_past_its_declaration(self):
        """Whoever takes a value out of the environment names it in the same call or subscript."""
        wrong = []
        for folder in ("pipelines", "bento"):
            for path in (ROOT / folder).rglob("*.py"):
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    read = _read(node)
                    if read and "MLOPS_" in ast.unparse(read):
                        wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
        assert wrong == []

    def test_that_rule_sees_every_way_to_read(self):
        for text in (
            "os.environ.get('MLOPS_X')",
            "os.getenv('MLOPS_X')",
            "environ['MLOPS_X']",
            "env.get('MLOPS_X', 1)",
        ):
            assert _read(ast.parse(text).body[0].value) is not None


def _read(node: ast.AST) -> ast.AST | None:
    """What is asked for, where the node takes something out of an environment."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        taken, asked = node.value, node.slice
    elif isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute | ast.Name):
        taken, asked = node.func, node.args[0]
        if isinstance(taken, ast.Attribute) and taken.attr not in ("get", "getenv", "pop"):
            return None
    else:
        return None
    return asked if re.search(r"\b(environ|env|getenv)\b", ast.unparse(taken)) else None


class TestTypos:
    def test_a_name_close_to_a_known_one_is_pointed_out(self):
        typos = likely_typos({"MLOPS_REMOT": "x", "MLOPS_GIT_TOKEN_FLIE": "x", "MLOPS_BRANCH": "main"})
        assert typos == [
            "nothing reads MLOPS_GIT_TOKEN_FLIE; did you mean MLOPS_GIT_TOKEN_FILE?",
            "nothing reads MLOPS_REMOT; did you mean MLOPS_REMOTE?",
        ]

    def test_a_team_s_own_variables_are_left_alone(self):
        assert likely_typos({"MLOPS_E2E_KUBECONFIG": "x", "MLOPS_DATABASE_PASSWORD": "x", "MLOP_HOME": "x"}) == []

    def test_no_known_name_is_taken_for_a_typo(self):
        assert likely_typos(dict.fromkeys(catalog.known_names(), "x")) == []

    def test_a_file_for_a_secret_is_known_only_for_secrets(self):
        assert "MLOPS_STORE_FILE" in catalog.known_names()
        assert "MLOPS_REMOTE_FILE" not in catalog.known_names()

    def test_settings_alone_know_most_names(self):
        assert Places.strangers({"MLOPS_HOME": "x", "HOME": "y"}) == set()
        assert Places.strangers({"MLOPS_WATCH": "git"}) == {"MLOPS_WATCH"}
        assert GitVariables.strangers({"MLOPS_GIT_TOKEN": "x"}) == set()
