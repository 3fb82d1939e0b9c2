"""What can go wrong between here and a registry."""

from pipelines.errors import MlopsError


class ReferenceInvalid(MlopsError):
    """A name that is no image, or an image where a repository is wanted."""


class RegistryError(MlopsError):
    """Any trouble with a registry."""


class RegistryAway(RegistryError):
    """Nobody answers, or only with a server's excuse."""


class WrongScheme(RegistryError):
    """TLS is spoken to a plain server, or plain HTTP to a TLS one."""


class CertificateRefused(RegistryError):
    """The registry's certificate is not trusted here."""


class LoginWanted(RegistryError):
    """The registry wants a login and there is none for it."""


class RegistryLoginRefused(RegistryError):
    """The registry does not accept the login it was given."""


class CredentialsBroken(RegistryError):
    """A login is configured, but cannot be read: a broken file, or a helper that fails."""


class NotAllowed(RegistryError):
    """Logged in, or not asked to, but not allowed to do this."""


class RegistryReadOnly(RegistryError):
    """The registry takes nothing at present."""


class RegistryFull(RegistryError):
    """No room or no quota left."""


class ImageRepositoryMissing(RegistryError):
    """A registry that makes no repository by itself has none of this name."""


class BaseMissing(RegistryError):
    """The base image is not where it should be."""


class ImageMissing(RegistryError):
    """No image of this digest."""


class NotAnImage(RegistryError):
    """A manifest, but not one that a Bento can stand on or be taken from."""


class DigestMismatch(RegistryError):
    """Other bytes than those asked for or sent."""


class TransferInterrupted(RegistryError):
    """A connection that broke while a blob was on its way."""


class UnexpectedAnswer(RegistryError):
    """An answer that the registry API does not know."""
