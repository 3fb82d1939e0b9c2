"""From a model's files to what serves them: a Bento, and a container image."""
