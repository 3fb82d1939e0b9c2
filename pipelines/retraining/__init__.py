"""When to train again: causes, requests, and the queue that dispatches them."""
