"""Pipeline runs: what was requested, what each step recorded, and how the run ended."""
