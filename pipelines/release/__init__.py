"""From an accepted model to a commit: registry, Bento, release.yaml."""
