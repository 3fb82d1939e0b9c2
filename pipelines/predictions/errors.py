"""What more than one part of the predictions' room refuses."""

from pipelines.errors import MlopsError


class UsecaseNotWatched(MlopsError):
    """A use case, or its model in an environment, that this monitor does not watch.

    Its privacy rules are not known, so nothing of it may be stored: HTTP 409. A page about it is not found.
    """
