"""The bytes of voxels: unpacked to their end, their checksum compared, their number exact."""

from __future__ import annotations

import zlib
from pathlib import Path

from oncoseg.errors import BadFile

AGAIN = "copy or download it again"
DEFLATE_RATIO = 1040  # no deflate stream unpacks to more than 1032 times its size


class Gzip:
    """One or several gzip (or zlib) streams in a row, unpacked piece by piece.

    Never unpacks more than is asked for, so a small file cannot fill the memory.
    """

    def __init__(self, path: Path, packed: bytes) -> None:
        self.path, self.left, self.packed = path, packed, len(packed)
        self.unpacker = zlib.decompressobj(47)
        self.pieces: list[bytes] = []
        self.size = 0

    def first(self, count: int) -> bytes:
        """The first `count` bytes, or fewer if there are no more."""
        self._unpack(count)
        return b"".join(self.pieces)[:count]

    def whole(self, count: int) -> bytearray:
        """All `count` bytes; raises `BadFile` if there are more or fewer, or the checksum fails."""
        if count > DEFLATE_RATIO * self.packed:
            cause = f"is truncated: {self.packed} bytes cannot unpack to the {count} promised"
            raise BadFile(self.path, cause, AGAIN)
        self._unpack(count + 1)
        if self.size <= count and not self.unpacker.eof:
            raise BadFile(self.path, "is truncated: its compressed voxels have no end", AGAIN)
        return exact(self.path, bytearray().join(self.pieces), count)

    def _unpack(self, upto: int) -> None:
        try:
            while self.size < upto and self._more():
                piece = self.unpacker.decompress(self.left, upto - self.size)
                self.left = self.unpacker.unconsumed_tail or self.unpacker.unused_data
                self.pieces.append(piece)
                self.size += len(piece)
        except zlib.error as error:
            cause = f"is damaged: its compressed voxels do not check ({error})"
            raise BadFile(self.path, cause, AGAIN) from error

    def _more(self) -> bool:
        if self.unpacker.eof and self.left:
            if not self.left.startswith(b"\x1f\x8b"):
                cause = f"has {len(self.left)} bytes of something else after its compressed voxels"
                raise BadFile(self.path, cause, AGAIN)
            self.unpacker = zlib.decompressobj(47)
        return bool(self.left)


def inflated(path: Path, packed: bytes, count: int) -> bytearray:
    """Exactly `count` bytes out of a gzip or zlib stream."""
    return Gzip(path, packed).whole(count)


def exact(path: Path, content: bytes | bytearray, count: int) -> bytearray:
    """The content, if it has `count` bytes, so that arrays on it can be written to.

    Raises `BadFile` if it has not.
    """
    if len(content) < count:
        cause = f"is truncated: its header promises {count} bytes, it holds {len(content)}"
        raise BadFile(path, cause, AGAIN)
    if len(content) > count:
        raise BadFile(path, f"goes on after the {count} bytes its header promises", AGAIN)
    return content if isinstance(content, bytearray) else bytearray(content)


def sibling(path: Path, name: str) -> Path:
    """The file with the voxels of a header beside it; never one from elsewhere."""
    if not name or Path(name).name != name or "%" in name or name.upper().startswith("LIST"):
        raise BadFile(path, f"has its voxels elsewhere ('{name}')", "save it as one file")
    other = path.with_name(name)
    if not other.is_file():
        raise BadFile(path, f"has its voxels in {name}, which is missing", "put it beside")
    return other
