"""The Git tree that Flux reads: what is generated in it, and whether it holds together."""
