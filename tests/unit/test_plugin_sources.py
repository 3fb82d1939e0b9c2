"""A source that a plugin offers is a source like the built-in ones: settings, problems, rows, fingerprint."""

import copy
from datetime import UTC, datetime

import pytest
import yaml

from pipelines.data.sources.fingerprint import fingerprint
from pipelines.data.sources.load import SourceUnknown, honours_as_of, load_table, open_source
from pipelines.plugins import PluginBroken
from pipelines.usecase import UseCase, UsecaseInvalid, load_usecase
from pipelines.usecase.model import Data, SourceSettings
from tests.pipeline_cases import USECASE
from tests.plugin_cases import SOURCE, Plugins, plugins

__all__ = ["plugins"]


@pytest.fixture
def counting(plugins: Plugins) -> Plugins:
    plugins.install("counting", SOURCE, {"sources": {"count": "counting:Count"}})
    return plugins


def usecase(tmp_path, source):
    values = copy.deepcopy(USECASE)
    values["data"]["source"] = source
    folder = tmp_path / "apps" / values["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "usecase.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_usecase(tmp_path, values["name"])


def problem(tmp_path, source):
    with pytest.raises(UsecaseInvalid) as caught:
        usecase(tmp_path, source)
    (only,) = caught.value.problems
    file, line, rest = only.split(":", 2)
    key = rest.strip().partition(":")[0].rpartition(".")[2]
    named = (tmp_path / file).read_text().splitlines()[int(line) - 1]
    assert named.strip().startswith((f"{key}:", "source:")), "the line is that of the key"
    return rest.strip()


def test_its_section_becomes_its_settings_and_its_rows_are_read(counting, tmp_path):
    source = usecase(tmp_path, {"type": "count", "rows": 3}).data.source
    assert (type(source).__name__, source.rows, source.start) == ("CountSettings", 3, 0)
    assert load_table(source, tmp_path, None).to_pydict() == {"n": [0, 1, 2]}


def test_it_goes_to_another_process_and_back(counting, tmp_path):
    before = usecase(tmp_path, {"type": "count", "rows": 3})
    assert UseCase.model_validate_json(before.model_dump_json(exclude_unset=True)) == before


def test_what_it_does_not_say_has_the_default_that_is_right(counting, tmp_path):
    three, four = (usecase(tmp_path, {"type": "count", "rows": rows}).data for rows in (3, 4))
    assert fingerprint(three, tmp_path) == fingerprint(three, tmp_path) != fingerprint(four, tmp_path)
    open_source(three.source, tmp_path).check()


def test_whether_it_takes_a_date_is_its_own_answer(counting, tmp_path):
    timeless = {"time": None, "split": {"by": "random", "test": 0.2, "validation": 0.2}, "labels_after": None}
    data = Data.model_validate({**USECASE["data"], **timeless, "source": {"type": "count", "rows": 3}})
    files = Data.model_validate({**USECASE["data"], **timeless, "source": {"type": "file", "url": "a.csv"}})
    assert honours_as_of(data, tmp_path)
    assert not honours_as_of(files, tmp_path)
    assert open_source(data.source, tmp_path).read(datetime(2026, 1, 1, tzinfo=UTC)).num_rows == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"type": "count"}, "data.source.rows: is required but missing; such as 10"),
        ({"type": "count", "rows": 0}, "data.source.rows: must be at least 1, not 0"),
        (
            {"type": "count", "rows": "3"},
            "data.source.rows: must be a whole number, not '3'; write it as a number, without quotes and unit; "
            "such as 10",
        ),
        (
            {"type": "count", "rows": 3, "strat": 1},
            "data.source.strat: unknown key for type: count (did you mean start?); allowed: type, rows, start",
        ),
        (
            {"type": "cuont", "rows": 3},
            "data.source.type: 'cuont' is not allowed (did you mean count?); allowed: python, file, sql, count",
        ),
        ({"rows": 3}, "data.source.type: is required but missing; allowed: python, file, sql"),
    ],
)
def test_what_is_wrong_is_reported_with_file_line_and_key(counting, tmp_path, source, said):
    assert problem(tmp_path, source).startswith(said)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("class Count: ...", "needs `settings`, a subclass of pipelines.usecase.sources.SourceSettings"),
        (SOURCE.replace('Literal["count"]', "str"), 'needs `type: Literal["count"]` in its settings CountSettings'),
    ],
)
def test_a_broken_one_is_named_at_the_key_that_asks_for_it(plugins, tmp_path, code, said):
    plugins.install("counting", code, {"sources": {"count": "counting:Count"}})
    assert problem(tmp_path, {"type": "count", "rows": 3}) == (
        f"data.source.type: counting 1.0 (entry point mlops_blueprint.sources: count = counting:Count) {said}"
    )


def test_a_broken_one_that_is_not_named_stops_nothing(plugins, tmp_path):
    plugins.install("counting", "1 / 0", {"sources": {"count": "counting:Count", "file": "counting:File"}})
    source = usecase(tmp_path, {"type": "file", "url": "*.csv"}).data.source
    assert type(open_source(source, tmp_path)).__name__ == "Files", "a built-in name cannot be taken"


def test_one_that_offers_no_source_is_refused_when_it_is_opened(plugins, tmp_path):
    code = SOURCE.replace("Source[CountSettings]", "object")
    plugins.install("counting", code, {"sources": {"count": "counting:Count"}})
    section = usecase(tmp_path, {"type": "count", "rows": 3}).data.source
    with pytest.raises(PluginBroken, match=r"offers no subclass of pipelines\.data\.sources\.source\.Source"):
        open_source(section, tmp_path)


def test_a_type_that_is_gone_when_it_is_opened_says_what_to_install(tmp_path):
    with pytest.raises(SourceUnknown, match="no source is called 'gone'") as caught:
        open_source(SourceSettings(type="gone"), tmp_path)
    assert "docs/extending.md" in caught.value.hint
