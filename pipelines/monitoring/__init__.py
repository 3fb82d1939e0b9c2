"""Watching released models: what they answered, whether that was right, and when to train again."""
