"""A use case's pipeline as Git holds it: compiled, versioned by content, with what its containers need."""
