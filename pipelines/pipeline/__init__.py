"""The training pipeline: its steps, the context they run in, and the graph that wires them."""
