"""How a model answers. Packed into every Bento; imports nothing from `pipelines`."""
