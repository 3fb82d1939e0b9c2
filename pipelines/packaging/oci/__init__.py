"""A Bento becomes a container image by appending one layer, with nothing but the registry's HTTP API."""
