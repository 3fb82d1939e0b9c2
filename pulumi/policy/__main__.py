"""The CrossGuard pack: `pulumi preview --policy-pack policy` applies the rules of blueprint/policies.py."""

import sys
from pathlib import Path

# The engine starts a pack in its own folder; the rules are the project's.
sys.path.insert(0, str(Path(__file__).parents[1]))

from blueprint.crossguard import pack

pack()
