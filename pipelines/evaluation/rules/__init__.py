"""What a candidate must pass: one rule a module, found by its type."""
