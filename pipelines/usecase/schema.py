"""usecase.yaml's JSON Schema for editors, and its reference page, both made from the model so that they cannot lie.

python -m pipelines.usecase.schema --write      after a change of the model
"""

import argparse
import json
import sys
from pathlib import Path

from pipelines.documents import write_atomically
from pipelines.usecase.json_schema import json_schema
from pipelines.usecase.reference import reference_page

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = Path(__file__).with_name("usecase.schema.json")
PAGE_FILE = ROOT / "docs" / "usecase.md"

__all__ = ["PAGE_FILE", "SCHEMA_FILE", "json_schema", "main", "schema_text"]


def schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write both files, or say whether they are fresh."""
    parser = argparse.ArgumentParser(description="The schema and the reference page of usecase.yaml.")
    parser.add_argument("--write", action="store_true", help="write both; without it, only say whether they are fresh")
    write = parser.parse_args(arguments).write
    stale = []
    for path, text in ((SCHEMA_FILE, schema_text()), (PAGE_FILE, reference_page(json_schema()))):
        if write:
            write_atomically(path, text)
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
    for path in stale:
        print(f"{path.relative_to(ROOT)} is stale; run `python -m pipelines.usecase.schema --write`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
