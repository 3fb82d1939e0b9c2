"""The monitor: one process for all use cases. It takes predictions, labels and alerts, judges, starts runs, shows."""
