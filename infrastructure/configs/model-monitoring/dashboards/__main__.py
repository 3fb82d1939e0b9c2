"""Writes the dashboards beside this file; Grafana finds them as ConfigMaps (../kustomization.yaml).

python infrastructure/configs/model-monitoring/dashboards            write
python infrastructure/configs/model-monitoring/dashboards --check    only say which are not fresh
"""

import sys
from pathlib import Path

import model_health
import platform_health
import service_health

FOLDER = Path(__file__).parent
DASHBOARDS = {
    "service-health.json": service_health.dashboard,
    "model-health.json": model_health.dashboard,
    "platform.json": platform_health.dashboard,
}


def main() -> int:
    stale = {name: make() for name, make in DASHBOARDS.items()}
    stale = {name: text for name, text in stale.items() if not _is_fresh(FOLDER / name, text)}
    for name, text in stale.items():
        if "--check" in sys.argv:
            print(f"{name} is not what its code writes; run python {FOLDER}", file=sys.stderr)
        else:
            (FOLDER / name).write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return 1 if stale and "--check" in sys.argv else 0


def _is_fresh(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
