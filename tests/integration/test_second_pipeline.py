"""A pipeline that is not ours: steps of another package, run here to an end of its own, compiled for Kubeflow."""

import os
import sys
from pathlib import Path

import pytest

from pipelines.definitions.find import find_pipeline
from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.usecase import load_usecase
from tests.kubeflow_cases import IMAGE
from tests.pipeline_cases import NAME, run_here
from tests.plugin_cases import Plugins, plugins
from tests.second_pipeline import CODE, ENTRY_POINTS

__all__ = ["plugins"]


@pytest.fixture(autouse=True)
def installed(plugins: Plugins, monkeypatch) -> None:
    plugins.install("second", CODE, ENTRY_POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.mark.slow
def test_it_runs_on_this_machine_to_an_end_of_its_own(lab):
    heard = []
    run = run_here(lab, lab.request(pipeline="predict"), heard.append)

    assert (run.outcome, run.accepted) == ("written", True), run.error
    assert list(run.steps) == ["load", "predict", "check", "write"]
    assert run.results["predict"]["rows"] == 600
    assert Path(run.results["write"]["path"]).read_text() == str(run.results["check"]["big"])
    assert (run.folder / "artifacts" / "check" / "page").read_text().startswith("<p>")
    assert [record.step for record in heard if record.event == "finished"] == ["load", "predict", "check", "write"]


@pytest.mark.slow
def test_its_gate_withholds_what_it_does_not_like(lab):
    run = run_here(lab, lab.request(pipeline="predict", params={"most": 0}))
    assert (run.outcome, run.accepted) == ("withheld", False)
    assert "write" not in run.steps
    assert not (lab.settings.home / "predictions").exists()


def test_it_compiles_with_no_key_that_it_did_not_ask_for(lab):
    compiled = compile_pipeline(load_usecase(lab.root, NAME, "staging"), IMAGE, find_pipeline("predict"))
    executors = compiled.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == {"exec-load", "exec-predict", "exec-check", "exec-write"}
    assert not [name for name, pod in executors.items() if "secretAsVolume" in pod]
    assert compiled.spec["components"]["comp-check"]["outputDefinitions"]["parameters"] == {
        "passed": {"parameterType": "BOOLEAN"}
    }
