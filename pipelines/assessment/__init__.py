"""Judging released models: drift against the training data, and quality against late labels."""
