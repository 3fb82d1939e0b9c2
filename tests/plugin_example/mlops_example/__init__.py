"""A source, a metric, a gate rule and a model format, as docs/extending.md shows them."""
