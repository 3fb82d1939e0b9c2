"""Pipelines as data: they refuse to contradict themselves, and everything that has to agree comes from them."""

import ast
from pathlib import Path

import pytest

from pipelines.definitions.definition import (
    Artifact,
    DefinitionInvalid,
    Ending,
    PipelineDefinition,
    StepDefinition,
)
from pipelines.definitions.find import PipelineUnknown, find_pipeline, step_names
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.pipeline.execution import StepFunctionMissing, load_function
from pipelines.plugins import PluginBroken
from pipelines.usecase import load_usecase
from pipelines.vertex.pipeline_job import _steps_for
from tests.plugin_cases import Plugins, plugins

__all__ = ["plugins"]

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example.com/mlops/pipeline:1"


def step(name: str, gives: str = "", **more) -> StepDefinition:
    return StepDefinition(name, "somewhere:function", Artifact(gives or f"{name}d", "somewhere:Document"), **more)


@pytest.mark.parametrize(
    ("steps", "endings", "words"),
    [
        ([step("load", takes=("data",))], [Ending("load", "loaded")], "load takes 'data', which no step before it"),
        ([step("load"), step("write", only_if="load")], [Ending("load", "x")], "waits for 'load', which decides noth"),
        ([step("load"), step("again", gives="loadd")], [Ending("load", "x")], "gives 'loadd', which an earlier step"),
        ([step("load"), step("load", gives="other")], [Ending("load", "x")], "two steps have one name"),
        ([step("load")], [Ending("release", "released")], "an ending names 'release', which is no step"),
        ([step("load")], [], "no ending"),
    ],
    ids=["input", "guard", "artifact", "name", "ending", "endless"],
)
def test_a_pipeline_that_contradicts_itself_is_refused(steps, endings, words):
    with pytest.raises(DefinitionInvalid, match=words):
        PipelineDefinition("small", "For the tests.", tuple(steps), tuple(endings))


def test_the_first_ending_that_fits_counts_and_a_missing_tag_is_an_empty_one():
    endings = TRAIN_AND_RELEASE.ending
    assert endings("gate", {}, {"passed": True}) is None
    assert endings("gate", {}, None) is None
    assert endings("gate", {}, {"passed": False}).outcome == "rejected"
    assert endings("release", {"commit": "c" * 40}, None).outcome == "released"
    assert endings("release", {}, None).outcome == "unchanged"
    assert [TRAIN_AND_RELEASE.is_accepted(outcome) for outcome in ("released", "unchanged", "rejected", "failed")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_code_of_a_use_case_sees_neither_the_git_key_nor_the_registry():
    assert TRAIN_AND_RELEASE.seeing("git") == ("evaluate", "register", "package", "release")
    assert TRAIN_AND_RELEASE.seeing("registry") == ("evaluate", "package")
    assert TRAIN_AND_RELEASE.seeing("source") == ("snapshot",)


def test_who_sees_a_secret_is_written_in_one_place():
    """A second list of step names is a second security boundary."""
    names = set(step_names())
    for path in (ROOT / "pipelines").rglob("*.py"):
        if path.parent.name == "definitions":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = {part.value for part in node.elts if isinstance(part, ast.Constant)}
                assert len(words & names) < 2, f"{path.relative_to(ROOT)}:{node.lineno} lists steps: {words & names}"


def test_what_runs_here_is_the_graph_that_is_compiled_for_kubeflow():
    """A laptop walks the definition in its order; the compiled graph has the same edges, guards and commands."""
    compiled = compile_pipeline(load_usecase(ROOT, "flight-delays", "staging"), IMAGE)
    root = compiled.spec["root"]["dag"]["tasks"]
    guarded = compiled.spec["components"]["comp-condition-1"]["dag"]["tasks"]
    condition = root["condition-1"]
    assert condition["inputs"]["parameters"]["pipelinechannel--gate-passed"]["taskOutputParameter"] == {
        "outputParameterKey": "passed",
        "producerTask": "gate",
    }
    assert condition["triggerPolicy"]["condition"].endswith("== true")
    assert set(guarded) == {step.name for step in TRAIN_AND_RELEASE.steps if step.only_if == "gate"}
    assert {*root, *guarded} - {"condition-1"} == set(TRAIN_AND_RELEASE.step_names)
    for step in TRAIN_AND_RELEASE.steps:
        task = {**root, **guarded}[step.name]
        assert (
            {_producer(source, name) for name, source in task["inputs"]["artifacts"].items()}
            == {(TRAIN_AND_RELEASE.producer(name).name, name) for name in step.inputs}
            if step.inputs
            else "artifacts" not in task["inputs"]
        )
        command = compiled.spec["deploymentSpec"]["executors"][f"exec-{step.name}"]["container"]["command"]
        assert command[-2:] == [TRAIN_AND_RELEASE.name, step.name]


def _producer(source: dict, name: str) -> tuple[str, str]:
    """(step, artifact) of a task's input; inside a condition it comes through a channel that names both."""
    if "taskOutputArtifact" in source:
        return source["taskOutputArtifact"]["producerTask"], source["taskOutputArtifact"]["outputArtifactKey"]
    step, _, artifact = source["componentInputArtifact"].removeprefix("pipelinechannel--").rpartition("-")
    return step, artifact


def test_every_function_and_document_that_the_pipeline_names_is_there():
    for step in TRAIN_AND_RELEASE.steps:
        assert load_function(step).__name__ == step.name
        module, _, name = step.gives.document.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_a_secret_on_vertex_follows_the_same_definition():
    usecase = load_usecase(ROOT, "flight-delays", "staging")
    assert _steps_for("MLOPS_GIT_TOKEN", usecase, TRAIN_AND_RELEASE) == TRAIN_AND_RELEASE.seeing("git")
    assert _steps_for("MLOPS_REGISTRY_PASSWORD", usecase, TRAIN_AND_RELEASE) == TRAIN_AND_RELEASE.seeing("registry")


def test_a_pipeline_that_is_not_installed_lists_those_that_are():
    with pytest.raises(PipelineUnknown, match="no pipeline 'predict'; known: train-and-release"):
        find_pipeline("predict")


def test_a_package_that_offers_something_else_as_a_pipeline_is_named(plugins: Plugins):
    plugins.install("odd", "NOT_ONE = 3", {"pipelines": {"odd": "odd:NOT_ONE"}})
    with pytest.raises(PluginBroken, match=r"odd 1\.0 .* is a int, not a PipelineDefinition"):
        find_pipeline("odd")


def test_a_step_function_may_come_from_a_package(plugins: Plugins):
    plugins.install("own", "def count(step):\n    return 3", {"steps": {"count": "own:count"}})
    declared = StepDefinition("count", "count", Artifact("counted", "own:Counted"))
    assert load_function(declared)(None) == 3
    missing = StepDefinition("count", "cuont", Artifact("counted", "own:Counted"))
    with pytest.raises(StepFunctionMissing, match="'cuont', which no installed package offers; there: count"):
        load_function(missing)
