"""Data quality before training: every promise that usecase.yaml makes about the data."""
