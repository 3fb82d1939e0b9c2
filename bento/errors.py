"""The server's own errors; nothing here knows the pipeline's."""


class BentoError(Exception):
    """Something is wrong with the packed model or with a request."""


class ModelFileMissing(BentoError):
    """A file of the model folder is not there."""


class ModelFileBroken(BentoError):
    """A file of the model folder cannot be read, or does not fit its signature."""


class AnswerNotFinite(BentoError):
    """The model answered NaN or infinity, which is no answer (and which JSON cannot say)."""


class SchemaTooNew(BentoError):
    """A document whose shape a newer version of the program has made; upgrade this one."""
