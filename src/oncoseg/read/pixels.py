"""Stored pixel values of a DICOM file: exact in length, unpacked by plug-ins where compressed."""

from __future__ import annotations

import numpy as np

from oncoseg.blocks.elements import check_whole, element, is_implicit, order_of
from oncoseg.blocks.instances import AGAIN, Instance, mapped, shown, understood
from oncoseg.case import Array
from oncoseg.errors import BadFile
from oncoseg.extras import require

NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
BIG = "1.2.840.10008.1.2.2"
PLUGINS = {  # end of the transfer syntax -> what unpacks it
    **dict.fromkeys(("50", "51", "57", "70"), "pylibjpeg pylibjpeg-libjpeg"),
    **dict.fromkeys(("80", "81"), "pyjpegls"),
    **dict.fromkeys(("90", "91", "201", "202", "203"), "pylibjpeg pylibjpeg-openjpeg"),
}
# A small file cannot fill the memory: compressed pixels may unpack to this much.
RATIO, SPARE = 10, 1 << 29
UNPACKED = "export it without compression, complete"


def stored(one: Instance) -> Array:
    """(frames, rows, columns) of whole numbers; bits of one each come as 0 and 1, uint8.

    Raises `BadFile` if there are too few, or too many, or no plug-in for their compression.
    """
    with understood(one.path):
        head = one.head
        shape = (int(head.get("NumberOfFrames") or 1), int(head.Rows), int(head.Columns))
        bits = int(head.get("BitsAllocated") or 0)
        if min(shape) < 1 or int(head.get("SamplesPerPixel") or 1) != 1:
            raise BadFile(one.path, f"has {shape} pixels of no grey image", AGAIN)
        if bits not in (1, 8, 16, 32):
            raise BadFile(one.path, f"has pixels of {bits} bits", "export it in 8 or 16 bits")
        count = shape[0] * shape[1] * shape[2]
        if str(head.file_meta.TransferSyntaxUID) not in NATIVE:
            pixels = _decoded(one, count * max(bits, 8) // 8)
        else:
            pixels = _native(one, count, bits)
        if pixels.size != count:
            raise BadFile(one.path, f"has pixels of shape {pixels.shape}, not {shape}", AGAIN)
        return _significant(one, pixels.reshape(shape), bits)


def _native(one: Instance, count: int, bits: int) -> Array:
    expected = (count * bits + 7) // 8
    raw = _value(one, expected)
    if bits == 1:
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count, bitorder="little")
    order = ">" if str(one.head.file_meta.TransferSyntaxUID) == BIG else "<"
    sign = "i" if int(one.head.get("PixelRepresentation") or 0) else "u"
    pixels = np.frombuffer(raw, f"{order}{sign}{bits // 8}", count=count)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _value(one: Instance, expected: int) -> bytes:
    """The bytes of PixelData, and a check that what follows it is whole."""
    syntax = str(one.head.file_meta.TransferSyntaxUID)
    with one.path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(one.start)
        if size == one.start:
            raise BadFile(one.path, "holds no pixels (is it truncated?)", AGAIN)
        tag, length, _ = element(handle, order_of(syntax), implicit=is_implicit(syntax))
        if tag != (0x7FE0, 0x0010):
            raise BadFile(one.path, "holds no pixels", AGAIN)
        if length not in (expected, expected + expected % 2):
            cause = f"is to hold {expected} bytes of pixels, but says it has {length}"
            raise BadFile(one.path, cause, AGAIN)
        if handle.tell() + length > size:
            cause = f"is truncated: it lacks {handle.tell() + length - size} bytes of its pixels"
            raise BadFile(one.path, cause, AGAIN)
        raw = handle.read(length)
        check_whole(handle, size, handle.tell(), syntax)
        return raw[:expected]


def _decoded(one: Instance, size: int) -> Array:
    """Compressed pixels, through pydicom and what is installed beside it."""
    syntax = one.head.file_meta.TransferSyntaxUID
    limit = RATIO * one.path.stat().st_size + SPARE
    if size > limit:
        cause = f"would unpack to {size} bytes, more than {RATIO} times its size"
        raise BadFile(one.path, cause, UNPACKED)
    pixels = require("pydicom.pixels", "dicom")
    try:
        decoder = pixels.get_decoder(syntax)
    except NotImplementedError as error:
        cause = f"is compressed in a way that is not known ({shown(syntax.name)})"
        raise BadFile(one.path, cause, UNPACKED) from error
    if not decoder.is_available:
        package = PLUGINS.get(str(syntax).rpartition(".")[2], "pylibjpeg")
        cause = f"is compressed ({syntax.name}), which needs a plug-in that is not installed"
        raise BadFile(one.path, cause, f"run: pip install {package}, or {UNPACKED}")
    with mapped(one.path) as handle:
        if len(handle) == one.start:
            raise BadFile(one.path, "holds no pixels (is it truncated?)", AGAIN)
        check_whole(handle, len(handle), one.start, str(syntax))
        handle.seek(0)
        return np.asarray(require("pydicom", "dicom").dcmread(handle).pixel_array)


def _significant(one: Instance, pixels: Array, bits: int) -> Array:
    """Without what lies above the highest bit that is said to be used, such as old overlays."""
    used = int(one.head.get("BitsStored") or bits)
    high = int(one.head.get("HighBit") if one.head.get("HighBit") is not None else used - 1)
    if used == bits:
        return pixels
    if not 0 < used < bits or high != used - 1:
        cause = f"says it uses {used} of {bits} bits up to bit {high}, which makes no sense"
        raise BadFile(one.path, cause, AGAIN)
    spare = pixels.dtype.type(bits - used)
    cut = (pixels << spare) >> spare
    if not np.array_equal(cut, pixels):
        cause = f"holds values of more than the {used} bits that it says it uses"
        raise BadFile(one.path, cause, "export it without overlays in its pixels")
    return pixels
