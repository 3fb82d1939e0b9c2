"""The process that forks steps: what it imports ahead survives a fork."""

import subprocess
import sys

from pipelines.definitions.definition import Artifact, StepDefinition
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.runners.worker import libraries_of

FORK = """
import os, sys, threading
from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.runners.worker import import_quietly, libraries_of

for step in TRAIN_AND_RELEASE.steps:
    for library in libraries_of(step):
        import_quietly(library)
        assert library in sys.modules, library
assert threading.active_count() == 1, threading.enumerate()
assert "tensorflow" not in sys.modules
pid = os.fork()
if pid == 0:
    import io
    import numpy, onnx, onnxruntime, pyarrow, pyarrow.parquet
    from sklearn.linear_model import LogisticRegression

    x = numpy.random.rand(600, 600)
    (x @ x).sum()
    LogisticRegression().fit(x, x[:, 0] > 0.5)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"x": x[0]}), buffer)
    assert pyarrow.parquet.read_table(buffer).num_rows == 600
    node = onnx.helper.make_node("Add", ["a", "a"], ["b"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("a", 1, [600])], [value("b", 1, [600])])
    opset = [onnx.helper.make_opsetid("", 13)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {"a": x[0].astype("float32")})
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_fork_computes_with_what_was_imported_before():
    """A thread that a library had started, and the lock that it held, would make the child wait for ever."""
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_code_of_others_is_imported_by_its_own_step_alone():
    step = StepDefinition("predict", "predict", Artifact("predictions", "ourteam.predict:Predictions"))
    assert not [name for name in libraries_of(step) if name.startswith("ourteam")]
    assert "pipelines.pipeline.steps" in libraries_of(TRAIN_AND_RELEASE.steps[0])
