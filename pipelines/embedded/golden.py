"""Ask a server the golden sample that its Bento carries: it must answer as the model did when it was made."""

import math
from pathlib import Path
from typing import Any

from bento.signature import GOLDEN_FILE, Golden
from pipelines.errors import MlopsError

ANSWER_SECONDS = 30.0


class NoAnswer(MlopsError):
    """The server gave no answer to its golden sample."""


class GoldenMismatch(MlopsError):
    """The server does not answer its golden sample as it must."""


def check_golden(server: str, model: Path, bento: str) -> None:
    """Raise NoAnswer or GoldenMismatch unless the server (http://host:port) gives this Bento's golden answers."""
    import httpx

    golden = Golden.read(model / GOLDEN_FILE)
    try:
        answer = httpx.post(f"{server}/predict", json={"instances": golden.instances}, timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        raise NoAnswer(f"{bento} did not answer its golden sample: {type(error).__name__} {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise GoldenMismatch(f"{bento} answered its golden sample with {answer.status_code}: {answer.text[:300]}")
    told = answer.json()
    if told["release"]["bento"] != bento:
        raise GoldenMismatch(f"release.yaml names {bento}, but its image holds {told['release']['bento']}")
    got = [_outputs(prediction) for prediction in told["predictions"]]
    if len(got) != len(golden.outputs):
        raise GoldenMismatch(f"{bento} gave {len(got)} answers to {len(golden.outputs)} golden instances")
    for index, (row, expected) in enumerate(zip(got, golden.outputs, strict=True)):
        if not _close(row, expected, golden.tolerance):
            raise GoldenMismatch(
                f"{bento} answers golden instance {index} with {_short(row)}; when it was made it was "
                f"{_short(expected)} (tolerance {golden.tolerance:g})"
            )


def _outputs(prediction: dict[str, Any]) -> list[float | None]:
    """One row of the model's output: probabilities in class order, or the value."""
    return list(prediction["probabilities"].values()) if "probabilities" in prediction else [prediction["value"]]


def _close(row: list[float | None], expected: list[float], tolerance: float) -> bool:
    pairs = zip(row, expected, strict=False)
    return len(row) == len(expected) and all(
        a is not None and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in pairs
    )


def _short(row: list[Any]) -> str:
    shown = ", ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row[:4])
    return f"[{shown}{', …' if len(row) > 4 else ''}]"
