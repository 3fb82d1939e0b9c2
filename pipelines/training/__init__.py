"""From checked data to an exported model, and its record in MLflow."""
