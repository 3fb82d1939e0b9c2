"""The server's own errors; nothing here knows the pipeline's."""


class BentoError(Exception):
    """Something is wrong with the packed model or with a request."""


class ModelFileMissing(BentoError):
    """A file of the model folder is not there."""


class ModelFileBroken(BentoError):
    """A file of the model folder cannot be read, or does not fit its signature."""


class FormatUnknown(BentoError):
    """No model format of this name is built in, and no installed distribution offers one."""


class FormatBroken(BentoError):
    """A distribution's model format cannot be loaded, or is not what a format must be."""


class AnswerNotFinite(BentoError):
    """The model answered NaN or infinity, which is no answer (and which JSON cannot say)."""


class SchemaTooNew(BentoError):
    """A document whose shape a newer version of the program has made; upgrade this one."""


LONGEST_LINE = 300


def one_line(error: BaseException, longest: int = LONGEST_LINE) -> str:
    """An error's text on one line of at most `longest` characters; its type where it has no text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
