"""Pipelines as data: their steps in order, what ends them, and which secrets each step sees."""
