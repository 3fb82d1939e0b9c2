"""What a new version costs as one layer, and what it costs as a whole image.

    python -m tests.bench.bench_images [--versions 20]

Both go to the same docker-registry on loopback, in one run, with the same serving base and the same models.

- layer: what the package step does. The base is in the registry, as it is from the second version on.
- whole image: what a build without a shared base costs at the least: install the packages into a fresh folder, pack
  them as a layer, push base and Bento to a registry that has nothing of them. `bentoml containerize` does this with
  Docker in between, which needs a daemon; this is its work without it, so the comparison flatters the whole image.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

VERSIONS = 20
WHOLE = 3
BALLAST = 1_000_000
FASTER, FEWER = 50, 1000


@dataclass
class Cost:
    seconds: float
    bytes: int


def main(versions: int = VERSIONS) -> int:
    """Print the table; exit status 1 when the small model's layer is not far cheaper than the whole image."""
    from tests.base_image import base_image
    from tests.registries import registry

    base = base_image(print)
    with tempfile.TemporaryDirectory() as folder, registry(Path(folder) / "registry") as running:
        scratch = Path(folder)
        name = base.push(running.host)
        rows = {
            "a layer, small model": [_layer(scratch / f"s{i}", running.host, name, i, 0) for i in range(versions)][1:],
            "a layer, model of 1 MB": [
                _layer(scratch / f"m{i}", running.host, name, i, BALLAST) for i in range(versions)
            ][1:],
        }
        whole = [_whole(scratch / f"w{i}", base, i) for i in range(WHOLE)]
    return _print(rows, whole)


def _layer(folder: Path, host: str, base: str, number: int, ballast: int) -> Cost:
    from tests.image_cases import bento_folder, push

    bento = bento_folder(folder, version=str(number), weight=number / 1000, ballast=ballast)
    began = time.perf_counter()
    published = push(bento, host, base)
    return Cost(time.perf_counter() - began, published.uploaded)


def _whole(folder: Path, base, number: int) -> Cost:
    from tests.base_image import install_packages, pack_layer
    from tests.image_cases import bento_folder, push
    from tests.registries import registry

    bento = bento_folder(folder / "bento", version=str(number), weight=number / 1000)
    with registry(folder / "registry") as empty:
        began = time.perf_counter()
        install_packages(folder / "packages")
        pack_layer(folder / "packages", folder / "layer")
        published = push(bento, empty.host, base.push(empty.host))
        seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    return Cost(seconds, published.uploaded + base.packed)


def _print(rows: dict[str, list[Cost]], whole: list[Cost]) -> int:
    most = Cost(statistics.median(c.seconds for c in whole), int(statistics.median(c.bytes for c in whole)))
    print("| a new version as | n | median s | max s | bytes sent | times faster | times fewer bytes |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    first = None
    for name, costs in [*rows.items(), ("the whole image, built and pushed", whole)]:
        median = statistics.median(c.seconds for c in costs)
        sent = int(statistics.median(c.bytes for c in costs))
        faster, fewer = most.seconds / median, most.bytes / sent
        compared = "| |" if costs is whole else f"{faster:,.0f} | {fewer:,.0f} |"
        slowest = max(c.seconds for c in costs)
        print(f"| {name} | {len(costs)} | {median:.3f} | {slowest:.3f} | {sent:,} | {compared}")
        if costs is not whole and first is None:
            first = (faster, fewer)
    return 0 if first is not None and first[0] >= FASTER and first[1] >= FEWER else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=VERSIONS)
    sys.exit(main(parser.parse_args().versions))
