"""What a source looks like from outside, asked in a process of its own: what a load() loads would stay in memory."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.usecase import UseCase

LONGEST_SECONDS = 600.0


class SourceUnreadable(MlopsError):
    """A use case's data cannot be looked at now."""


def fingerprint_of(root: Path, usecase: UseCase) -> str:
    """The fingerprint of its data (pipelines.data.sources.fingerprint). Raises SourceUnreadable."""
    command = [sys.executable, "-m", "pipelines.monitor.data_probe", str(root / "apps" / usecase.name)]
    try:
        done = subprocess.run(
            command,
            input=usecase.model_dump_json(exclude_unset=True),
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise SourceUnreadable(f"the data of {usecase.name} was not looked at within {LONGEST_SECONDS:.0f} s") from None
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        raise SourceUnreadable(f"the data of {usecase.name} cannot be looked at: {words[-1][:300]}")
    return done.stdout.split()[-1]


def main() -> None:
    """The child."""
    from pipelines.data.sources.fingerprint import fingerprint

    usecase = UseCase.model_validate_json(sys.stdin.read())
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever a use case's code prints is no answer
    found = fingerprint(usecase.data, Path(sys.argv[1]))
    os.write(answer, f"{found}\n".encode())


if __name__ == "__main__":
    main()
