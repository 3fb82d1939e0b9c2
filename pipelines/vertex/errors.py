"""What can go wrong with Vertex AI, one error a kind of cause."""

from pipelines.errors import MlopsError


class VertexNotConfigured(MlopsError):
    """This environment has no vertex/<environment>.yaml, or not the part that is needed."""


class VertexConfigInvalid(MlopsError):
    """A key of vertex/<environment>.yaml is wrong; every problem is listed with file, line and key."""


class VertexLoginMissing(MlopsError):
    """Nobody has logged in to Google Cloud here."""


class VertexLoginRefused(MlopsError):
    """401: Google does not take the login."""


class VertexNotAllowed(MlopsError):
    """403: the login may not do this, or the API is not switched on."""


class VertexNotFound(MlopsError):
    """404: what the request names is not there."""


class VertexConflict(MlopsError):
    """409, or a precondition that no longer holds: somebody else changed it meanwhile."""


class VertexQuota(MlopsError):
    """429: a quota is used up."""


class VertexRefused(MlopsError):
    """400 and its like: the API does not accept the request itself."""


class VertexUnreachable(MlopsError):
    """No answer, or 5xx again and again."""


class AnswerLost(VertexUnreachable):
    """A change was asked for and the answer did not come: it may have happened or not."""


class OperationFailed(MlopsError):
    """A long-running operation ended with an error."""


class OperationTooLong(MlopsError):
    """A long-running operation has not ended in the time it was given; it goes on."""


class ReleaseNotCommitted(MlopsError):
    """The checkout does not say which commit put the release there."""


class KeyIsFixed(MlopsError):
    """Git names another key than the one that an endpoint was made with."""


class ImageElsewhere(MlopsError):
    """The released image is not where Vertex AI can take it from."""


class NoMachineFits(MlopsError):
    """No machine type is as large as serving.cpu and serving.memory ask for."""


class NotSettling(MlopsError):
    """Step after step was done, and still something is to do."""


class PipelineNotForVertex(MlopsError):
    """The use case's pipeline needs something that this environment on Vertex AI does not give."""


class RunAlreadyThere(MlopsError):
    """Vertex AI has a job of this name that has ended, or that is another run's."""


class SecretUnavailable(MlopsError):
    """A step could not get a secret from Secret Manager."""


class NoRunName(MlopsError):
    """A scheduled step was not told which run it belongs to."""
