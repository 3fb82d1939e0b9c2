"""A second pipeline, as another team's package would bring it: load → predict → check → write."""

NAME = "predict"

CODE = """
from pathlib import Path
from typing import ClassVar

from pipelines.definitions.definition import Artifact, Attachment, Ending, PipelineDefinition, StepDefinition
from pipelines.documents import Document


class Predictions(Document):
    KIND = "predictions"
    SCHEMAS: ClassVar = {"predictions": 1}
    rows: int


class Checked(Document):
    KIND = "checked"
    SCHEMAS: ClassVar = {"checked": 1}
    fine: bool
    big: int


class Written(Document):
    KIND = "written"
    SCHEMAS: ClassVar = {"written": 1}
    path: str


def predict(step, data, folder):
    import numpy as np

    from pipelines.data.snapshot import open_snapshot

    sizes = open_snapshot(data).column("size").to_numpy()
    folder.mkdir(parents=True)
    np.save(folder / "big.npy", sizes > 5)
    step.log(summary=f"{len(sizes)} rows predicted", metrics={"rows": len(sizes)})
    return Predictions(rows=len(sizes))


def check(step, predictions, folder, page):
    import numpy as np

    big = int(np.load(folder / "big.npy").sum())
    page.mkdir(parents=True, exist_ok=True)
    (page / "check.html").write_text(f"<p>{big} of {predictions.rows}</p>")
    fine = big < step.request.params.get("most", predictions.rows)
    step.log(summary=f"{big} of {predictions.rows} are big")
    return Checked(fine=fine, big=big)


def write(step, folder, checked):
    target = step.settings.home / "predictions" / f"{step.request.run_id}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(str(checked.big))
    step.log(summary=f"written to {target.name}", tags={"target": target.name})
    return Written(path=str(target))


PREDICT = PipelineDefinition(
    name="predict",
    description="Predict for a whole table, and write what passes a check.",
    steps=(
        StepDefinition(
            name="load",
            function="pipelines.pipeline.steps:snapshot",
            gives=Artifact("data", "pipelines.data.snapshot:DataRef", "Dataset"),
            sees=frozenset({"source"}),
        ),
        StepDefinition(
            name="predict",
            function="predict",
            takes=("data",),
            gives=Artifact("predictions", "second:Predictions", file="predictions.json"),
            libraries=("numpy",),
        ),
        StepDefinition(
            name="check",
            function="check",
            takes=("predictions", "predictions/"),
            gives=Artifact("checked", "second:Checked"),
            attaches=(Attachment("page", "check.html"),),
            run_folder="check",
            passes_if="fine",
        ),
        StepDefinition(
            name="write",
            function="write",
            takes=("predictions/", "checked"),
            gives=Artifact("written", "second:Written"),
            only_if="check",
        ),
    ),
    endings=(
        Ending("check", "withheld", result={"fine": False}, accepted=False),
        Ending("write", "written"),
    ),
)
"""

ENTRY_POINTS = {
    "pipelines": {"predict": "second:PREDICT"},
    "steps": {name: f"second:{name}" for name in ("predict", "check", "write")},
}
