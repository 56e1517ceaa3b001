"""The bytes of voxels: unpacked to their end, their checksum compared, their number exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from zlib_ng import zlib_ng as zlib

from oncoseg.case import Array
from oncoseg.errors import BadFile

Buffer = bytes | bytearray | memoryview
AGAIN = "copy or download it again"
DEFLATE_RATIO = 1040  # no deflate stream unpacks to more than 1032 times its size
# What a file may make the program allocate: so many times its own size, and a gigabyte besides.
GROWTH, FREE = 10, 10**9
PIECE, PIECES = 1 << 20, 1 << 24  # bytes unpacked at a time, and made of them


class Gzip:
    """One or several gzip (or zlib) streams in a row, unpacked piece by piece.

    Never unpacks more than is asked for, so a small file cannot fill the memory.
    """

    def __init__(self, path: Path, packed: Buffer) -> None:
        self.path, self.packed, self.place = path, memoryview(packed), 0
        self.unpacker = zlib.decompressobj(47)
        self.left = b""
        self.content = bytearray()
        self.size = 0

    def first(self, count: int) -> bytes:
        """The first `count` bytes, or fewer if there are no more."""
        self._unpack(count)
        return bytes(self.content[: min(count, self.size)])

    def whole(self, count: int) -> bytearray:
        """All `count` bytes; raises `BadFile` if there are more or fewer, or the checksum fails."""
        if count > DEFLATE_RATIO * len(self.packed):
            size = len(self.packed)
            cause = f"is truncated: {size} bytes cannot unpack to the {count} promised"
            raise BadFile(self.path, cause, AGAIN)
        affordable(self.path, count, len(self.packed))
        self._unpack(count + 1)
        if self.size <= count and not self.unpacker.eof:
            raise BadFile(self.path, "is truncated: its compressed voxels have no end", AGAIN)
        del self.content[self.size :]
        exact(self.path, self.content, count)
        return self.content

    def _unpack(self, upto: int) -> None:
        if len(self.content) < upto:
            self.content, begun = bytearray(upto), self.content
            self.content[: self.size] = begun[: self.size]
        try:
            while self.size < upto and self._more():
                piece = self.unpacker.decompress(self.left, min(upto - self.size, PIECES))
                self.left = self.unpacker.unconsumed_tail or self.unpacker.unused_data
                self.content[self.size : self.size + len(piece)] = piece
                self.size += len(piece)
        except zlib.error as error:  # type: ignore[misc]
            cause = f"is damaged: its compressed voxels do not check ({error})"
            raise BadFile(self.path, cause, AGAIN) from error

    def _more(self) -> bool:
        """Whether there is anything left to unpack, from this stream or from the next."""
        if len(self.left) < 2 and self.place < len(self.packed):
            piece = self.packed[self.place : self.place + PIECE]
            self.left, self.place = self.left + bytes(piece), self.place + len(piece)
        if self.unpacker.eof and self.left:
            if not self.left.startswith(b"\x1f\x8b"):
                size = len(self.left) + len(self.packed) - self.place
                cause = f"has {size} bytes of something else after its compressed voxels"
                raise BadFile(self.path, cause, AGAIN)
            self.unpacker = zlib.decompressobj(47)
        return bool(self.left)


def affordable(path: Path, needed: int, held: int) -> None:
    """Raises `BadFile` if `needed` bytes are more than a file of `held` bytes may ask for."""
    if needed > GROWTH * held + FREE:
        cause = f"asks for {needed / 1e9:.1f} GB of memory out of {held / 1e6:.1f} MB of file"
        raise BadFile(path, cause, "save it uncompressed if it is what it says, or in parts")


def loaded(path: Path) -> memoryview:
    """A file's bytes, read once to where arrays on them can be written to.

    By NumPy, since memory that is about to be filled need not be filled with zeros before.
    """
    return np.fromfile(path, np.uint8).data


def inflated(path: Path, packed: Buffer, count: int) -> bytearray:
    """Exactly `count` bytes out of a gzip or zlib stream."""
    return Gzip(path, packed).whole(count)


def exact(path: Path, content: Buffer, count: int) -> bytearray | memoryview:
    """The content, if it has `count` bytes, so that arrays on it can be written to.

    Raises `BadFile` if it has not.
    """
    if len(content) < count:
        cause = f"is truncated: its header promises {count} bytes, it holds {len(content)}"
        raise BadFile(path, cause, AGAIN)
    if len(content) > count:
        raise BadFile(path, f"goes on after the {count} bytes its header promises", AGAIN)
    return bytearray(content) if isinstance(content, bytes) else content


def narrowed(path: Path, values: Array) -> Array:
    """Floating-point numbers as float32; raises `BadFile` if it cannot hold one that is finite."""
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    lost = np.isinf(small) & np.isfinite(values) if np.isinf(small).any() else np.zeros(1)
    if lost.any():
        cause = f"holds numbers too large for float32 in {int(lost.sum())} voxels"
        raise BadFile(path, cause, "rescale it, or correct its slope")
    return small


def sibling(path: Path, name: str) -> Path:
    """The file with the voxels of a header beside it; never one from elsewhere."""
    if not name or Path(name).name != name or "%" in name or name.upper().startswith("LIST"):
        raise BadFile(path, f"has its voxels elsewhere ('{name}')", "save it as one file")
    other = path.with_name(name)
    if not other.is_file():
        raise BadFile(path, f"has its voxels in {name}, which is missing", "put it beside")
    return other
