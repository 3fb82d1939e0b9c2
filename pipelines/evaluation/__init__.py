"""How good a model is, whether it may be released, and the card that tells people so."""
