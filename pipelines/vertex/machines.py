"""Which machine one server gets: Vertex AI rents whole machines, so the smallest that fits serving.cpu and memory."""

from dataclasses import dataclass

from pipelines.usecase.operation import Serving
from pipelines.vertex.errors import NoMachineFits

# Google's E2 machines that predictions may run on: cores, GiB. The next one costs more than the one before.
E2 = (
    ("e2-highcpu-2", 2, 2),
    ("e2-standard-2", 2, 8),
    ("e2-highmem-2", 2, 16),
    ("e2-highcpu-4", 4, 4),
    ("e2-standard-4", 4, 16),
    ("e2-highmem-4", 4, 32),
    ("e2-highcpu-8", 8, 8),
    ("e2-standard-8", 8, 32),
    ("e2-highmem-8", 8, 64),
    ("e2-highcpu-16", 16, 16),
    ("e2-standard-16", 16, 64),
    ("e2-highmem-16", 16, 128),
    ("e2-highcpu-32", 32, 32),
    ("e2-standard-32", 32, 128),
)
TAKEN_BY_VERTEX_GIB = 1.0


@dataclass(frozen=True)
class MachineSize:
    """What Vertex AI is asked for: a machine type, and the fewest and most of them."""

    machine: str
    replicas: tuple[int, int]


def size_of(serving: Serving, machine: str | None = None) -> MachineSize:
    """Raises NoMachineFits. A machine that is named is taken as it is."""
    return MachineSize(machine or _smallest(serving), serving.replicas)


def _smallest(serving: Serving) -> str:
    cores, memory = _cores(serving.cpu), _gib(serving.memory)
    for name, has_cores, has_gib in E2:
        if cores <= has_cores and memory + TAKEN_BY_VERTEX_GIB <= has_gib:
            return name
    raise NoMachineFits(
        f"serving asks for {serving.cpu} cores and {serving.memory}; the largest machine known here is {E2[-1][0]}",
        hint="name a machine type as endpoints.machine, or lower serving in usecase.yaml",
    )


def _cores(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _gib(text: str) -> float:
    return float(text[:-2]) / (1024 if text.endswith("Mi") else 1)
