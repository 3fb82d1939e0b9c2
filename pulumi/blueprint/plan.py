"""`make plan`: the resource graph of a stack, as a tree for people or as JSON for programs.

An offline plan. It shows what the program would ask for, not what is there: only `pulumi preview` compares.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from blueprint.errors import PlatformError
from blueprint.rehearsal import Rehearsal, Resource, rehearse
from blueprint.spec import CLOUDS, ENVIRONMENTS

NOTE = "offline plan, made without a cloud or credentials: it compares with nothing that exists"


def as_tree(plan: Rehearsal) -> str:
    """Every resource below its parent, with what protects it."""
    lines = [plan.stack, *_branches(plan, children_of(plan, ""), "")]
    kinds = Counter(resource.type.split(":")[0] for resource in plan.resources if resource.custom)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return "\n".join([*lines, "", f"{sum(kinds.values())} resources: {counted}"]) + "\n"


def as_json(plan: Rehearsal) -> str:
    """Every resource with all its properties; one property a line, so that a diff shows what changes."""
    resources = [_described(plan, resource) for resource in _in_order(plan.resources)]
    blocks = ",\n".join("    {\n" + ",\n".join(_lines(block)) + "\n    }" for block in resources)
    outputs = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in sorted(plan.outputs.items()))
    return (
        f'{{\n  "note": {json.dumps(NOTE)},\n  "stack": {json.dumps(plan.stack)},\n'
        f'  "resources": [\n{blocks}\n  ],\n  "outputs": {{\n{outputs}\n  }}\n}}\n'
    )


def children_of(plan: Rehearsal, parent: str) -> list[Resource]:
    """Ordered by type and name: a program's own order changes with the wind of its event loop."""
    known = {resource.urn for resource in plan.resources}
    return _in_order(r for r in plan.resources if r.parent == parent or (not parent and r.parent not in known))


def _in_order(resources: Iterator[Resource] | Sequence[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda resource: (resource.type, resource.name))


def _branches(plan: Rehearsal, resources: Sequence[Resource], indent: str) -> Iterator[str]:
    for resource in resources:
        last = resource is resources[-1]
        yield f"{indent}{'└── ' if last else '├── '}{resource.label}{_marks(resource)}"
        yield from _branches(plan, children_of(plan, resource.urn), indent + ("    " if last else "│   "))


def _marks(resource: Resource) -> str:
    options = resource.options
    marks = [
        *(["protected"] if options.protect else []),
        *(["kept on delete"] if options.retain_on_delete else []),
        *(["handed over to Flux"] if "values" in options.ignore_changes else []),
    ]
    return f"  [{', '.join(marks)}]" if marks else ""


def _described(plan: Rehearsal, resource: Resource) -> dict[str, Any]:
    names = {other.urn: other.label for other in plan.resources}
    options = resource.options
    described: dict[str, Any] = {"type": resource.type, "name": resource.name}
    if resource.parent in names:
        described["parent"] = names[resource.parent]
    for key, value in (
        ("protect", options.protect),
        ("retainOnDelete", options.retain_on_delete),
        ("ignoreChanges", list(options.ignore_changes)),
        ("deletedWith", names.get(options.deleted_with, "")),
        ("waitsFor", sorted(names[urn] for urn in options.waits_for if urn in names)),
    ):
        if value:
            described[key] = value
    return {**described, "inputs": dict(resource.inputs)}


def _lines(block: dict[str, Any]) -> Iterator[str]:
    for key, value in block.items():
        if key != "inputs":
            yield f"      {json.dumps(key)}: {json.dumps(value)}"
            continue
        inputs = ",\n".join(f"        {json.dumps(name)}: {json.dumps(value[name])}" for name in sorted(value))
        yield f'      "inputs": {{\n{inputs}\n      }}' if inputs else '      "inputs": {}'


FORMATS = {"tree": as_tree, "json": as_json}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan of one stack; errors in plain words."""
    parser = argparse.ArgumentParser(prog="make plan", description=__doc__)
    parser.add_argument("--cloud", required=True, choices=CLOUDS)
    parser.add_argument("--env", required=True, choices=ENVIRONMENTS)
    parser.add_argument("--format", default="tree", choices=sorted(FORMATS))
    chosen = parser.parse_args(arguments)
    try:
        plan = rehearse(f"{chosen.cloud}-{chosen.env}")
    except PlatformError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if chosen.format == "tree":
        print(f"# {NOTE}")
    print(FORMATS[chosen.format](plan), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
