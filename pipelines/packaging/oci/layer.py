"""A folder as one image layer, and back: the same files give the same bytes.

Names in order, no times, no owners but root, no modes but "everybody may read": a server that runs as another user
cannot change what it serves.
"""

import gzip
import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from pipelines.packaging.oci.errors import NotAnImage
from pipelines.packaging.oci.manifest import LAYER, Descriptor

LEVEL = 6
CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A layer in a file; the diff id is the digest of the tar inside."""

    file: Path
    blob: Descriptor
    diff_id: str

    def read(self) -> Iterator[bytes]:
        """The layer's bytes from the beginning."""
        with self.file.open("rb") as opened:
            yield from iter(lambda: opened.read(CHUNK), b"")


class _Hashed:
    """A file that is only written to, and knows the digest and size of what it was given."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def build_layer(folder: Path, files: list[str], place: PurePosixPath, target: Path) -> Layer:
    """Write the listed files of the folder as a layer that puts them below `place`."""
    with target.open("wb") as opened:
        packed = _Hashed(opened)
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=LEVEL, fileobj=cast(BinaryIO, packed), mtime=0
        ) as compressed:
            plain = _Hashed(cast(IO[bytes], compressed))
            with tarfile.open(fileobj=cast(IO[bytes], plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
                _fill(tar, folder, files, place)
    blob = Descriptor(media_type=LAYER, digest=packed.digest, size=packed.size)
    return Layer(file=target, blob=blob, diff_id=plain.digest)


def _fill(tar: tarfile.TarFile, folder: Path, files: list[str], place: PurePosixPath) -> None:
    folders = {parent for name in files for parent in PurePosixPath(name).parents} - {PurePosixPath(".")}
    for path in [place, *(place / each for each in sorted(folders))]:
        entry = tarfile.TarInfo(str(path))
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    for name in sorted(files):
        entry = tarfile.TarInfo(str(place / name))
        entry.size, entry.mode = (folder / name).stat().st_size, 0o644
        with (folder / name).open("rb") as content:
            tar.addfile(entry, content)


def unpack_layer(file: Path, place: PurePosixPath, target: Path) -> None:
    """Take the regular files below `place` out of a layer; anything else in it is refused."""
    try:
        with tarfile.open(file, mode="r:gz") as tar:
            for entry in tar:
                _take(tar, entry, place, target)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, OSError) as error:
        raise NotAnImage(f"the layer cannot be unpacked: {error}") from None


def _take(tar: tarfile.TarFile, entry: tarfile.TarInfo, place: PurePosixPath, target: Path) -> None:
    path = PurePosixPath(entry.name)
    if ".." in path.parts or not path.is_relative_to(place) or not (entry.isreg() or entry.isdir()):
        raise NotAnImage(f"the layer holds {entry.name!r}, which is no file of a Bento")
    destination = target / path.relative_to(place)
    if entry.isdir():
        destination.mkdir(parents=True, exist_ok=True)
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(entry)
    assert content is not None  # noqa: S101 - a regular file has content
    with content, destination.open("wb") as opened:
        shutil.copyfileobj(content, opened, CHUNK)
