"""A checkout with one tiny use case, and ways to run its steps: in this process, or as the real pipeline."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.embedded.origin import code_version, ensure_origin
from pipelines.pipeline import steps
from pipelines.pipeline.context import stepping
from pipelines.runners.local import LocalRunner
from pipelines.runners.runner import OnRecord, run_to_end
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.runs.run import Run
from pipelines.settings import Settings
from pipelines.training.train import CANDIDATE_FILE, Candidate

NAME = "tiny"
STEPS = TRAIN_AND_RELEASE.step_names

MODEL_PY = """
import numpy as np
import pandas as pd

from pipelines.data import DatasetMissing


def load():
    rng = np.random.default_rng(3)
    rows = 600
    size = rng.uniform(0, 10, rows)
    kind = rng.choice(["a", "b", "c"], rows)
    noise = rng.normal(0, 1.5, rows)
    when = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="h")
    return pd.DataFrame({"size": size, "kind": kind, "big": (size + noise > 5), "when": when})


def train(train, validation, params, seed):
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("n", "passthrough", ["size"]), ("c", encoder, ["kind"])])
    model = LogisticRegression(C=params["C"])
    return Pipeline([("columns", columns), ("model", model)]).fit(train.frame(), train.target)
"""

USECASE = {
    "apiVersion": "mlops-blueprint/v1",
    "name": NAME,
    "purpose": "Say whether something is big, for the tests.",
    "owner": {"team": "tests", "contact": "tests@example.com", "accountable": "Head of Tests"},
    "risk": {"level": "minimal"},
    "task": "classification",
    "data": {
        "source": {"type": "python", "load": "model.py:load"},
        "target": "big",
        "time": "when",
        "features": {
            "size": {"type": "number", "min": 0, "max": 10},
            "kind": {"type": "category", "one_of": ["a", "b", "c"]},
        },
        "split": {"by": "time", "test": "5d", "validation": "2d"},
        "checks": {"min_rows": 100},
    },
    "training": {"train": "model.py:train", "params": {"C": 1.0}},
    "evaluation": {
        "metrics": ["roc_auc", "brier"],
        "gates": [
            {"metric": "roc_auc", "at_least": 0.7},
            {"metric": "brier", "champion": "not-worse", "margin": 0.002},
        ],
    },
}


@dataclass
class Lab:
    """The checkout, its settings, and what its runs did."""

    root: Path
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        folder = self.root / "apps" / NAME
        folder.mkdir(parents=True)
        (self.root / "pyproject.toml").write_text("")
        self.write_model(MODEL_PY)
        self.write_usecase(USECASE)
        git(self.root, "init", "-q")
        git(self.root, "add", "-A")
        git(self.root, "commit", "-q", "-m", "start")
        self.settings = Settings.load({}, root=self.root, home=self.root / ".mlops")
        ensure_origin(Path(self.settings.remote), self.root)

    def write_model(self, text: str) -> None:
        (self.root / "apps" / NAME / "model.py").write_text(text)

    def write_usecase(self, values: dict) -> None:
        (self.root / "apps" / NAME / "usecase.yaml").write_text(yaml.safe_dump(values, sort_keys=False))

    def environ(self) -> dict[str, str]:
        return {"MLOPS_ROOT": str(self.root), "MLOPS_HOME": str(self.settings.home), "MLOPS_PUBLISH_LATER": "1"}

    def request(self, usecase: str = NAME, **asked) -> RunRequest:
        code = code_version(self.root)
        return RunRequest(usecase=usecase, run_id=new_run_id(usecase), environment="staging", code=code, **asked)


class Stepwise:
    """The pipeline's steps one by one in this process, each with what the steps before it gave."""

    def __init__(self, lab: Lab, **asked) -> None:
        self.lab = lab
        self.asked = lab.request(**asked)
        self.folder = lab.settings.runs / self.asked.run_id / "by-hand"
        self.trained = self.folder / "model"

    def snapshot(self):
        with self._step("snapshot") as step:
            self.data = steps.snapshot(step)
            return self.data

    def validate(self):
        with self._step("validate") as step:
            self.checked = steps.validate(step, self.data, self.folder / "checks")
            return self.checked

    def train(self):
        with self._step("train") as step:
            self.candidate = steps.train(step, self.data, self.checked, self.trained)
            assert Candidate.read(self.trained / CANDIDATE_FILE) == self.candidate
            return self.candidate

    def evaluate(self):
        with self._step("evaluate") as step:
            self.evaluation = steps.evaluate(step, self.data, self.candidate, self.trained)
            return self.evaluation

    def gate(self):
        with self._step("gate") as step:
            self.verdict = steps.gate(step, self.data, self.candidate, self.evaluation, self.folder / "evaluation")
            return self.verdict

    def register(self):
        with self._step("register") as step:
            self.version = steps.register(step, self.data, self.verdict, self.trained)
            return self.version

    def package(self):
        with self._step("package") as step:
            self.bento = steps.package(step, self.data, self.version, self.trained)
            return self.bento

    def release(self):
        with self._step("release") as step:
            return steps.release(
                step,
                self.data,
                self.candidate,
                self.evaluation,
                self.verdict,
                self.version,
                self.bento,
                self.folder / "evaluation",
            )

    def until(self, last: str) -> "Stepwise":
        for name in STEPS:
            getattr(self, name)()
            if name == last:
                return self
        raise ValueError(last)

    def _step(self, name: str):
        return stepping(name, self.asked.model_dump(mode="json"))


def run_here(lab: Lab, request: RunRequest, on_record: OnRecord = lambda _record: None) -> Run:
    """The real pipeline on this machine, to its end."""
    return run_to_end(LocalRunner(lab.settings), request, on_record)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
