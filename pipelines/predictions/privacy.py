"""What of a prediction may be stored: the switches of `monitoring.store.columns`, applied before anything is."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import MlopsError
from pipelines.settings import Settings
from pipelines.usecase import UseCase

KEY_FILE = "privacy.key"
FEWEST_KEY_CHARACTERS = 16
HASH_BYTES = 16


class PrivacyKeyUnusable(MlopsError):
    """Columns are to be hashed, and there is nothing to hash them with."""


@dataclass(frozen=True)
class StoreRules:
    """The switches of one use case, and the key it hashes with."""

    usecase: str
    columns: Mapping[str, Literal["store", "hash", "drop"]]
    key_columns: tuple[str, ...]
    key: bytes

    @classmethod
    def of(cls, usecase: UseCase, key: bytes) -> StoreRules:
        return cls(usecase.name, usecase.monitoring.store.columns, tuple(usecase.data.checks.unique), key)

    def apply(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs without what is dropped, and with hashes where they are asked for. Nothing stays nothing."""
        if not self.columns:
            return inputs
        kept = {name: value for name, value in inputs.items() if self.columns.get(name) != "drop"}
        return {
            name: self._hash(name, value) if value is not None and self.columns.get(name) == "hash" else value
            for name, value in kept.items()
        }

    def join_key(self, key: str) -> str | None:
        """A join key as it is stored: hashed when one of its columns is, None when one of them is dropped."""
        switches = {self.columns.get(name, "store") for name in self.key_columns}
        if "drop" in switches:
            return None
        return self._hash("join key", key) if "hash" in switches else key

    def _hash(self, column: str, value: Any) -> str:
        """The same value gives the same text within a column, and cannot be found by trying without the key."""
        import orjson

        told = orjson.dumps([self.usecase, column, value])
        return hmac.digest(self.key, told, "sha256")[:HASH_BYTES].hex()


def store_rules(settings: Settings, usecase: UseCase) -> StoreRules:
    """A use case's; a key is looked for only where something is to be hashed."""
    hashes = "hash" in usecase.monitoring.store.columns.values()
    return StoreRules.of(usecase, privacy_key(settings) if hashes else b"")


def privacy_key(settings: Settings) -> bytes:
    """MLOPS_PRIVACY_KEY; without it, a key of the state folder, made when it is first asked for."""
    if settings.privacy_key:
        if len(settings.privacy_key) < FEWEST_KEY_CHARACTERS:
            raise PrivacyKeyUnusable(f"MLOPS_PRIVACY_KEY is shorter than {FEWEST_KEY_CHARACTERS} characters")
        return settings.privacy_key.encode()
    path = settings.home / KEY_FILE
    try:
        return _read_or_make(path)
    except OSError as error:
        raise PrivacyKeyUnusable(f"{path}: {error.strerror}", hint="set MLOPS_PRIVACY_KEY to a long secret") from error


def _read_or_make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(temporary, path)  # whoever is first wins: nobody's key is replaced
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes().strip()
