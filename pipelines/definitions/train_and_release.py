"""Train, judge and, if it is good enough, release one use case.

The use case's own code runs in `snapshot` (load) and `train`. Neither sees the key to the Git repository nor the login
to the registry: what a model's author writes cannot release anything past the gate.
"""

from pipelines.definitions.definition import Artifact, Attachment, Ending, PipelineDefinition, StepDefinition

STEPS = "pipelines.pipeline.steps"

TRAIN_AND_RELEASE = PipelineDefinition(
    name="train-and-release",
    description="Train, judge and, if it is good enough, release one use case.",
    steps=(
        StepDefinition(
            name="snapshot",
            function=f"{STEPS}:snapshot",
            gives=Artifact("data", "pipelines.data.snapshot:DataRef", "Dataset"),
            sees=frozenset({"source"}),
            libraries=("pandas", "fsspec", "pyarrow.dataset", "pyarrow.parquet"),
        ),
        StepDefinition(
            name="validate",
            function=f"{STEPS}:validate",
            takes=("data",),
            gives=Artifact("checks", "pipelines.data.checks.report:CheckReport"),
            run_folder="checks",
            libraries=("pandera.pandas", "hypothesis.strategies"),
        ),
        StepDefinition(
            name="train",
            function=f"{STEPS}:train",
            takes=("data", "checks"),
            gives=Artifact("model", "pipelines.training.train:Candidate", "Model", file="candidate.json"),
            libraries=("sklearn.pipeline", "onnx", "onnxruntime", "skl2onnx"),
        ),
        StepDefinition(
            name="evaluate",
            function=f"{STEPS}:evaluate",
            takes=("data", "model", "model/"),
            gives=Artifact("scores", "pipelines.evaluation.evaluate:Evaluation", "Metrics"),
            sees=frozenset({"git", "registry"}),
            libraries=("sklearn.metrics",),
        ),
        StepDefinition(
            name="gate",
            function=f"{STEPS}:gate",
            takes=("data", "model", "scores"),
            gives=Artifact("verdict", "pipelines.evaluation.gate:Verdict"),
            attaches=(Attachment("card", "model-card.html"),),
            run_folder="evaluation",
            passes_if="passed",
            libraries=("matplotlib.pyplot", "jinja2", "markdown_it"),
        ),
        StepDefinition(
            name="register",
            function=f"{STEPS}:register",
            takes=("data", "verdict", "model/"),
            gives=Artifact("version", "pipelines.registry.mlflow:ModelVersion"),
            only_if="gate",
            sees=frozenset({"git"}),
            libraries=("mlflow.onnx", "mlflow.store.tracking.sqlalchemy_store", "bento.service"),
        ),
        StepDefinition(
            name="package",
            function=f"{STEPS}:package",
            takes=("data", "version", "model/"),
            gives=Artifact("bento", "pipelines.packaging.bentos:PackedBento"),
            only_if="gate",
            sees=frozenset({"git", "registry"}),
            libraries=("bentoml",),
        ),
        StepDefinition(
            name="release",
            function=f"{STEPS}:release",
            takes=("data", "model", "scores", "verdict", "version", "bento"),
            gives=Artifact("released", "pipelines.release.release:Release"),
            run_folder="evaluation",
            only_if="gate",
            sees=frozenset({"git"}),
        ),
    ),
    endings=(
        Ending("gate", "rejected", result={"passed": False}, accepted=False),
        Ending("release", "unchanged", tags={"commit": ""}),
        Ending("release", "released"),
    ),
)
