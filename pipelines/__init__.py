"""How a model comes to be released: load, check, train, evaluate, gate, register, package, commit."""
