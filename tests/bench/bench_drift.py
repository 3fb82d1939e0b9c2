"""What watching costs: an evaluation's time and memory, and whether a sample comes to the verdict of all rows.

round        use cases judged one after another in a child process: seconds, CPU, the child's memory, the parent's
evaluation   20 columns x 10,000 and x 1,000,000 predictions; its verdict beside that of the same distances on all rows
distances    10 columns x 100,000 rows by each method, beside Evidently's preset on the same table
alert        from an alert's request until its run has begun

python -m tests.bench.bench_drift [--rows 1000000] [--usecases 50]
"""

import argparse
import importlib
import os
import resource
import statistics
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from bento.signature import CategoryField, NumberField, Signature
from pipelines.assessment.assess import SAMPLED_ROWS, assess
from pipelines.assessment.drift import compare_tables, judge_drift, measure_distances
from pipelines.assessment.features import describe_columns, describe_outputs
from pipelines.assessment.reference import Reference, ReferenceSample, keep_reference
from pipelines.assessment.reports import QUIET, STAMP
from pipelines.assessment.worker import AssessmentJob, WorkFolders, evaluate, job_of
from pipelines.predictions.source import Coverage
from pipelines.predictions.store.rows import Origin, PredictionRow
from pipelines.predictions.store.store import Store
from pipelines.retraining.triggers import RunOutcome
from pipelines.usecase import UseCase
from pipelines.usecase.model import Drift
from tests.monitoring_cases import NOW, watched
from tests.tiny_models import TABULAR, write_bento
from tests.trigger_cases import dispatcher, drift, open_table

NUMBERS, TEXTS = 16, 4
# Shifts in standard deviations: none, those that a threshold of 0.2 is about, and those that nobody overlooks.
SHIFTS = (0, 0, 0, 0, 0.05, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0, 2.0)
RULE = Drift(threshold=0.2, min_rows=500, columns=[])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--usecases", type=int, default=50)
    asked = parser.parse_args()
    signature = Signature(
        name="wide",
        task="classification",
        fields={f"n{at}": NumberField() for at in range(NUMBERS)} | {f"k{at}": CategoryField() for at in range(TEXTS)},
        classes=(False, True),
    )
    reference = _reference(signature)
    _round(asked.usecases)  # first: a child's peak of memory counts what its parent had when it was forked
    _evaluations(signature, reference, asked.rows)
    _distances()
    _alerts()


def _columns(rows: int, seed: int, shifted: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = {f"n{at}": rng.normal(SHIFTS[at] if shifted else 0, 1, rows).astype("float32") for at in range(NUMBERS)}
    for at in range(TEXTS):
        tilt = np.arange(1, 9, dtype=float) ** (0.3 * at if shifted else 0)
        columns[f"k{at}"] = rng.choice(np.array(list("abcdefgh"), object), rows, p=tilt / tilt.sum())
    return columns


def _reference(signature: Signature) -> Reference:
    columns = _columns(5000, 0, shifted=False)
    outputs = _outputs(columns)
    return Reference(
        "wide:1",
        "wide/1",
        signature,
        ReferenceSample(describe_columns(signature, columns), describe_outputs(signature, outputs)),
    )


def _outputs(columns: dict[str, np.ndarray]) -> np.ndarray:
    yes = 1 / (1 + np.exp(-columns["n0"] - columns["n15"]))
    return np.stack([1 - yes, yes], axis=1)


class _Rows:
    """All rows as arrays; a sample of them becomes what the store gives, whose reading is measured elsewhere."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns
        self.rows = len(columns["n0"])

    def predictions(self, usecase, environment, since, until, limit, *, bento=None) -> pd.DataFrame:
        chosen = np.sort(np.random.default_rng(4).permutation(self.rows)[:limit])
        part = {name: values[chosen] for name, values in self.columns.items()}
        inputs = [
            dict(zip(part, cells, strict=True)) for cells in zip(*(v.tolist() for v in part.values()), strict=True)
        ]
        outputs = _outputs(part)
        return pd.DataFrame(
            {
                "inputs": inputs,
                "label": np.where(outputs[:, 1] > 0.5, "true", "false"),
                "confidence": outputs.max(axis=1),
                "value": np.nan,
            }
        )

    def coverage(self, usecase, environment, since, until, *, bento=None) -> Coverage:
        return Coverage(self.rows, 0)

    def joined(self, *arguments, **named):
        raise AssertionError("no quality is watched here")


def _distances(rows: int = 100_000) -> None:
    """Preparation included on our side: what is missing, extremes and rare categories are seen to before."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    was, now = (pd.DataFrame(_ten_of(_columns(rows, seed, shifted=seed > 0))) for seed in (0, 1))
    importing, _ = _timed(lambda: importlib.import_module("evidently.presets"))
    print(f"\n10 columns x {rows:,} rows on both sides; medians of 3; importing Evidently took {importing:.1f} s\n")
    print("| method | ours | Evidently's preset | ratio | columns that drifted |")
    print("|---|---|---|---|---|")
    for method in ("psi", "jensenshannon", "wasserstein", "ks"):
        rule = Drift(method=method, threshold=0.1, min_rows=500)
        ours, theirs = [], []
        for _ in range(3):  # side by side, so that both meet the same noise
            ours.append(_timed(lambda rule=rule: _judged(rule, now, was)))
            theirs.append(_timed(lambda method=method: _preset(method, now, was)))
        mine, preset = (statistics.median(seconds for seconds, _ in found) for found in (ours, theirs))
        drifted = sum(one.drifted for one in ours[0][1].values())
        print(f"| {method} | {mine:.2f} s | {preset:.2f} s | {preset / mine:.1f} | {drifted} and {theirs[0][1]:.0f} |")


def _ten_of(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: columns[name] for name in ["n0", "n4", "n6", "n7", "n9", "n11", "n15", "k0", "k1", "k3"]}


def _judged(rule: Drift, now: pd.DataFrame, was: pd.DataFrame):
    comparisons = compare_tables(rule, now, was, lambda column: column.startswith("k"))
    pairs = [pair for one in comparisons for pair in (one.values, one.presence) if pair]
    return {one.column: one for one in judge_drift(rule, comparisons, measure_distances(rule, pairs))}


def _preset(method: str, now: pd.DataFrame, was: pd.DataFrame) -> float:
    """How many columns drifted. Evidently has no total variation as a distance: categories by Jensen-Shannon there."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    texts = [name for name in now if name.startswith("k")]
    shape = DataDefinition(numerical_columns=[name for name in now if name not in texts], categorical_columns=texts)
    preset = DataDriftPreset(
        num_method=method,
        cat_method=method if method in ("psi", "jensenshannon") else "jensenshannon",
        num_threshold=0.1,
        cat_threshold=0.1,
    )
    sides = (Dataset.from_pandas(side, data_definition=shape) for side in (now, was))
    return Report([preset]).run(*sides).dict()["metrics"][0]["value"]["count"]


def _evaluations(signature: Signature, reference: Reference, most: int) -> None:
    values = watched(quality=None, drift={"threshold": 0.2, "min_rows": 500}).model_dump(
        mode="json", exclude_unset=True
    )
    values["name"] = "wide"
    usecase = UseCase.model_validate(values)
    _timed(lambda: assess(usecase, "staging", _Rows(_columns(6000, 1, True)), reference, NOW))  # imports
    print(f"\n20 columns, PSI, a sample of at most {SAMPLED_ROWS:,} rows; medians of 3\n")
    print("| predictions | evaluation | distances of all rows | same verdict | scores furthest apart | memory |")
    print("|---|---|---|---|---|---|")
    for rows in sorted({10_000, most}):
        columns = _columns(rows, 2, True)
        source = _Rows(columns)
        found = [_timed(lambda source=source: assess(usecase, "staging", source, reference, NOW)) for _ in range(3)]
        seconds = statistics.median(second for second, _ in found)
        judged = {one["column"]: one for one in found[0][1][0].detail["columns"]}
        whole_seconds, whole = _timed(lambda columns=columns: _all_rows(signature, reference, columns))
        same = sum(judged[name]["drifted"] == one.drifted for name, one in whole.items())
        apart = max(whole, key=lambda name: abs(judged[name]["score"] - whole[name].score))
        print(
            f"| {rows:,} | {seconds:.2f} s | {whole_seconds:.2f} s | {same} of {len(whole)} columns "
            f"| {apart}: {judged[apart]['score']:.3f} and {whole[apart].score:.3f} | {_memory():.0f} MiB |"
        )


def _all_rows(signature: Signature, reference: Reference, columns: dict[str, np.ndarray]):
    rule = RULE.model_copy(update={"columns": list(columns)})
    return _judged(rule, describe_columns(signature, columns), reference.sample.inputs)


def _round(usecases: int) -> None:
    before = _memory()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        bento = write_bento(folder / "bento")
        keep_reference(bento / "src" / "model", _flights(5000), seed=1)
        place = WorkFolders(store=f"sqlite:///{folder / 'monitor.db'}", reports=folder / "reports")
        store = Store.open(place.store)
        jobs = []
        for number in range(usecases):
            usecase = _tiny(f"usecase-{number}")
            _fill(store, usecase.name)
            jobs.append(job_of(usecase, "staging", bento, place, NOW))
        print(f"\n{usecases} use cases judged in one child process; this process has {before:.0f} MiB\n")
        print("| round | seconds | CPU | the child's memory | problems |")
        print("|---|---|---|---|---|")
        # The peak of memory of all children can only grow, so this comes first.
        _round_of([_quiet(job) for job in jobs], "without reports")
        _round_of(jobs, "with a report of each")


def _quiet(job: AssessmentJob) -> AssessmentJob:
    """Without an alert, and as if the day's report were there."""
    today = job.reports / "staging" / job.usecase["name"] / f"{NOW:{STAMP}}-{QUIET}.html"
    today.parent.mkdir(parents=True)
    today.touch()
    monitoring = {**job.usecase["monitoring"], "drift": {"threshold": 100, "min_rows": 500}}
    return job.model_copy(update={"usecase": {**job.usecase, "monitoring": monitoring}})


def _round_of(jobs: list[AssessmentJob], name: str) -> None:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, judged = _timed(lambda: evaluate(jobs))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    problems = [one.problem for one in judged if one.problem]
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    print(f"| {name} | {seconds:.1f} s | {cpu:.1f} s | {after.ru_maxrss / 1024:.0f} MiB | {len(problems)} |")


def _tiny(name: str) -> UseCase:
    values = watched(quality=None).model_dump(mode="json", exclude_unset=True)
    values["name"] = name
    values["data"]["features"] = {
        field: {"type": told.type} for field, told in TABULAR.fields.items() if told.type in ("number", "category")
    }
    values["evaluation"]["slices"] = []
    return UseCase.model_validate(values)


def _flights(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return {
        "distance": rng.uniform(0, 2000, rows).astype("float32"),
        "temperature": rng.normal(50, 10, rows).astype("float32"),
        "origin": rng.choice(["EWR", "JFK", "LGA"], rows).astype(object),
        "carrier": rng.choice(["UA", "B6"], rows).astype(object),
    }


def _fill(store: Store, name: str) -> None:
    columns = _flights(1000)
    rows = [
        PredictionRow(
            id=f"{name}.1.{at:026x}",
            time=NOW - timedelta(seconds=at + 1),
            inputs=dict(zip(columns, [cell if isinstance(cell, str) else float(cell) for cell in cells], strict=True)),
            output={"label": True, "probabilities": {"false": 0.3, "true": 0.7}},
            label="true",
            confidence=0.7,
        )
        for at, cells in enumerate(zip(*columns.values(), strict=True))
    ]
    store.save_predictions(Origin(name, "staging", "tiny-table:1", f"{name}/1", "r" * 32, None, {}), rows, NOW)


def _alerts() -> None:
    waits = []
    with tempfile.TemporaryDirectory() as made:
        for number in range(20):
            begun = threading.Event()

            def runner(_record, begun=begun) -> RunOutcome:
                begun.set()
                return RunOutcome(outcome="released")

            monitor = dispatcher(open_table(Path(made) / f"{number}.db"), lambda: NOW, runner)
            began = time.perf_counter()
            monitor.request(drift())
            monitor.tick()
            begun.wait(10)
            waits.append(time.perf_counter() - began)
            monitor.wait(10)
    print(f"\nfrom a request to its runner: {statistics.median(waits) * 1000:.1f} ms (largest {max(waits) * 1000:.1f})")


def _timed(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _memory() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
