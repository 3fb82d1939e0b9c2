"""Rehearsals of the example stacks, each made once for all tests. No cloud is behind them: Pulumi's mocks are."""

import copy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from blueprint.rehearsal import Rehearsal, read_stack, rehearse
from blueprint.snapshots import TREE, stacks

STACKS = stacks()
BUILT = [stack for stack in STACKS if not stack.startswith("existing")]
REPOSITORY = Path(__file__).parents[2]


@lru_cache
def rehearsal(stack: str, *, unknown: bool = False) -> Rehearsal:
    return rehearse(stack, root=TREE, unknown=unknown)


def document(stack: str) -> dict[str, Any]:
    """The `platform` section of a stack file, to change for a test."""
    return copy.deepcopy(read_stack(stack)["platform"])


def changed(stack: str, change: Callable[[dict[str, Any]], object]) -> Rehearsal:
    """The stack as it would be with a change to its file."""
    platform = document(stack)
    change(platform)
    return rehearse(stack, {"platform": platform}, root=TREE)
