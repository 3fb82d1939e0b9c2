"""`pulumi up` starts here."""

from blueprint.program import run

run()
