"""The elements of a DICOM file from first to last: whether it ends where its lengths say.

Parsers take a sequence that breaks off for one with fewer items: contours, or files of a DICOMDIR,
would go unseen.
"""

from __future__ import annotations

from typing import Any, Literal

UNDEFINED = 0xFFFFFFFF
PREAMBLE = 132
WIDE = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
DEEPEST = 64
Tag = tuple[int, int]
Order = Literal["little", "big"]


def order_of(syntax: str) -> Order:
    """The order of bytes in a transfer syntax."""
    return "big" if syntax == "1.2.840.10008.1.2.2" else "little"


def is_implicit(syntax: str) -> bool:
    """Whether a transfer syntax leaves out the type of each element."""
    return syntax == "1.2.840.10008.1.2"


def element(handle: Any, order: Order, *, implicit: bool) -> tuple[Tag, int, bool]:
    """Tag and length of the next element, and whether it is of the type UN.

    The handle then stands at its value. Raises `EOFError` if the file breaks off.
    """
    first = handle.read(8)
    tag = int.from_bytes(first[:2], order), int.from_bytes(first[2:4], order)
    if implicit or tag[0] == 0xFFFE:
        rest = first[4:8]
    elif first[4:6] in WIDE:
        rest = handle.read(4)
    else:
        rest = b"\0\0" + first[6:8] if order == "big" else first[6:8] + b"\0\0"
    if len(rest) < 4 or len(first) < 8:
        raise EOFError("it breaks off within an element")
    return tag, int.from_bytes(rest, order), first[4:6] == b"UN"


def start_of(handle: Any) -> int:
    """The byte after the file's meta elements (group 0002)."""
    handle.seek(PREAMBLE)
    while True:
        place = int(handle.tell())
        tag, length, _ = element(handle, "little", implicit=False)
        if tag[0] != 0x0002:
            return place
        handle.seek(length, 1)


def check_whole(handle: Any, size: int, start: int, syntax: str) -> None:
    """Raises `EOFError` unless the elements from byte `start` on end with the file, to the byte."""
    handle.seek(start)
    order, implicit = order_of(syntax), is_implicit(syntax)
    while handle.tell() < size:
        _skip(handle, size, order, implicit=implicit, depth=0)


def _skip(handle: Any, size: int, order: Order, *, implicit: bool, depth: int) -> Tag:
    """One element, with all that is nested in it; its tag."""
    tag, length, unknown = element(handle, order, implicit=implicit)
    if tag in (ITEM_END, SEQUENCE_END):
        return tag
    if length != UNDEFINED:
        if length > size - handle.tell():
            raise EOFError(f"it lacks {length - size + handle.tell()} bytes at its end")
        handle.seek(length, 1)
        return tag
    if depth > DEEPEST:
        raise EOFError("its sequences are nested too deeply")
    inner = implicit or unknown  # UN of undefined length holds implicit elements
    end = ITEM_END if tag == ITEM else SEQUENCE_END
    while _skip(handle, size, order, implicit=inner, depth=depth + 1) != end:
        pass
    return tag
