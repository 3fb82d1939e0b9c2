"""Write a real artefact of every kind, as today's program makes it: `python -m tests.compat.make 0.2.0`.

Run when a version is released, and again only while it is not: what a released program has written does not change any
more. A tiny model is trained, released and served, and the files that came of it are kept, with the checkout's place
replaced. What needs Kubernetes or Vertex AI, or a program outside, is written by the class that writes it there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bento.instances import parse_json
from bento.predictor import Predictor
from bento.recording import segments
from pipelines.embedded.processes import ProcessMark
from pipelines.predictions.labels import LabelFault, LabelReport
from pipelines.retraining.triggers import Trigger
from pipelines.runs.remote import Remote
from pipelines.usecase.migrate import migrate
from tests.compat import store
from tests.pipeline_cases import NAME, Lab, git

HERE = Path(__file__).parent
PLACE = "/home/you/checkout"
WAIT_SECONDS = 120
BODY = b'{"instances": [{"size": 7.5, "kind": "a"}, {"size": 1.0, "kind": "b"}], "keys": ["order-1", "order-2"]}'
STEPS = {
    "snapshot/data": "data-ref.json",
    "validate/checks": "check-report.json",
    "train/model/candidate.json": "candidate.json",
    "evaluate/scores": "evaluation.json",
    "gate/verdict": "verdict.json",
    "register/version": "model-version.json",
    "package/bento": "packed-bento.json",
    "release/released": "release.json",
}
WRITTEN_BY_PEOPLE = {"usecase.yaml": "usecase.yaml", "local/overrides.yaml": "overrides.yaml"}


def main() -> None:
    target = HERE / sys.argv[1]
    vertex = max(HERE.glob("*/vertex.yaml")).read_text()  # the newest, which `mlops migrate` makes one of today
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        lab = Lab(Path(folder) / "checkout")
        mlops(lab, "run", NAME, "--no-wait")
        mlops(lab, "up", "--no-monitor")
        try:
            wait_for(lab.settings.home / "rollouts.jsonl")
            keep_state(lab.settings.home, target)
        finally:
            mlops(lab, "down")
        keep_run(lab, target)
        keep_model(lab.settings.home, target)
        keep_messages(target)
        keep_what_people_write(Path(folder), vertex, target)
        for path in (path for path in target.rglob("*") if path.suffix in (".json", ".jsonl")):
            path.write_text(path.read_text().replace(str(lab.root), PLACE))
    store.keep(target.name)
    print(f"{len(list(target.rglob('*')))} files in {target}: look at what changed")


def mlops(lab: Lab, *words: str) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "--root", str(lab.root), "--home", str(lab.settings.home), *words]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])})


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not path.is_file() or '"live"' not in path.read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing went live within {WAIT_SECONDS} s; see {path.parent / 'logs'}")
        time.sleep(0.5)


def keep_state(home: Path, target: Path) -> None:
    """What the embedded platform and its servers wrote down."""
    for source, name in (
        ("reconciler.json", "reconciler-state.json"),
        ("rollouts.jsonl", "rollout.jsonl"),
        ("supervisor.json", "supervisor.json"),
        ("run/*.deployed.json", "deployed.json"),
        ("run/*.state.json", "server-state.json"),
    ):
        shutil.copy(next(home.glob(source)), target / name)
    ProcessMark.of().write(target / "process-mark.json")


def keep_run(lab: Lab, target: Path) -> None:
    """A run's folder, what its steps handed on, and the commit that it ended with."""
    run = next(lab.settings.runs.glob(f"{NAME}-*"))
    for source, name in (
        ("request.json", "run-request.json"),
        ("journal.jsonl", "run-record.jsonl"),
        ("published.json", "published.json"),
    ):
        shutil.copy(run / source, target / name)
    for source, name in STEPS.items():
        shutil.copy(next(run.glob(f"artifacts/*/{source}")), target / name)
    remote = Path(lab.settings.remote)
    (target / "release.yaml").write_text(git(remote, "show", f"main:apps/{NAME}/staging/release.yaml") + "\n")
    (target / "history.fast-export").write_text(git(remote, "fast-export", "main") + "\n")


def keep_model(home: Path, target: Path) -> None:
    """A model folder as it was packed, and the predictions that it would record."""
    packed = next(home.glob(f"bentos/{NAME}/*/src/model"))
    shutil.copytree(packed, target / "model")
    predictor = Predictor.load(packed)
    answer = predictor.answer(parse_json(BODY, predictor.signature))
    exchange = segments.pack(1_790_000_000_000, 2, "application/json", BODY, answer)
    (target / "segment.bin").write_bytes(segments.begin(predictor.segment_header()) + b"".join(exchange))


def keep_what_people_write(scratch: Path, vertex: str, target: Path) -> None:
    """Files of this checkout, and one for Vertex AI, which it does not have."""
    flights = HERE.parents[1] / "apps" / "flight-delays"
    for source, name in WRITTEN_BY_PEOPLE.items():
        shutil.copy(flights / source, target / name)
    path = scratch / "vertex" / "staging.yaml"
    path.parent.mkdir()
    path.write_text(vertex)
    migrate(scratch, [path])
    shutil.copy(path, target / "vertex.yaml")


def keep_messages(target: Path) -> None:
    """What goes to and from programs that a laptop does not have."""
    page = "https://kubeflow.example.com/#/runs/details/5e1f"
    Remote(runner="kubeflow", id="5e1f", pipeline=NAME, page=page).write(target / "remote-run.json")
    Trigger(
        usecase=NAME, environment="staging", reason="drift", evidence="size psi 3.10 > 0.2", fingerprint="alert:1f"
    ).write(target / "trigger.json")
    fault = LabelFault(index=3, name="order-9", detail="there is no such class")
    LabelReport(accepted=5, matched=4, pending=1, invalid=1, pending_names=["order-8"], faults=[fault]).write(
        target / "label-report.json"
    )


if __name__ == "__main__":
    main()
