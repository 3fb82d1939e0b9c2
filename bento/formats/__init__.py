"""How a model is kept in its folder, and how it runs: one format a module, found by the signature's `format`."""
