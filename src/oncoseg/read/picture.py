"""Pictures (PNG, JPEG, TIFF, BMP): rows by columns, on a grid of pixels.

PNG has checksums, the others have none: there a cut is seen, since the end is missing, but a bit
that flipped inside is not.
"""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile

AGAIN = "copy or download it again"
GREY = {"1", "L", "I", "F", "I;16", "I;16B", "I;16L"}
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # no other, whatever the file's name says
ENDS = {"PNG": b"\0\0\0\0IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
# Tags of TIFF; the rotation is EXIF's too.
ROTATION, BITS, COMPRESSION, PHOTOMETRIC, SIGN = 0x0112, 258, 259, 262, 339
STRIPS, TILES = (273, 279), (324, 325)  # where they begin, and how long they are
LOSSY = (6, 7, 33003, 33005, 34712)  # JPEG in its kinds


def read(path: Path, *, label: bool = False) -> tuple[Array, Grid, list[str]]:
    """Array (H, W), or (H, W, 3) for colours, and the pixel grid.

    As a label, a palette picture gives its indices, not its colours, and JPEG is refused since its
    compression makes up values. Raises `BadFile`.
    """
    image = _open(path)
    if label and (image.format in ("JPEG", "MPO") or _tag(image, COMPRESSION) in LOSSY):
        raise BadFile(path, "is a label map in JPEG, which changes values", "save it as PNG")
    if image.mode in ("P", "PA") and not label:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA"):
        image = _opaque(path, image)
    if image.mode not in GREY | {"RGB", "P"}:
        raise BadFile(path, f"has colours of the kind {image.mode}", "save it as RGB or grey")
    array = np.array(image)
    if image.mode == "I" and _tag(image, SIGN) == 1:  # which Pillow takes for signed
        array = array.view(np.uint32)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array, Grid(array.shape[:2], np.eye(3)), []


def grey(array: Array) -> Array:
    """A picture whose colours are equal everywhere is grey, however it is stored."""
    if array.ndim == 3 and bool((array == array[..., :1]).all()):
        return np.ascontiguousarray(array[..., 0])
    return array


def read_label(path: Path) -> tuple[Array, Grid, list[str]]:
    """As `read`, for label maps."""
    return read(path, label=True)


def _open(path: Path) -> Image.Image:
    content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            # What Pillow warns of and goes on from is a file that would be read in part.
            warnings.filterwarnings("error", "(?i).*(truncated|corrupt)", UserWarning)
            image = _decoded(path, content)
            frames = getattr(image, "n_frames", 1)
    except UnidentifiedImageError as error:
        raise BadFile(path, "is no picture that can be read", AGAIN) from error
    except Image.DecompressionBombError as error:
        raise BadFile(path, "is too large for a picture", "cut it into tiles") from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError, UserWarning) as error:
        why = " ".join(str(error).split())
        raise BadFile(path, f"is truncated or damaged ({why})", AGAIN) from error
    if ENDS.get(image.format or "", b"") not in content[-64:]:
        raise BadFile(path, f"is truncated: a {image.format} without its end", AGAIN)
    if frames > 1:
        raise BadFile(path, f"holds {frames} pictures", "save each as a file")
    if image.getexif().get(ROTATION, 1) != 1:
        raise BadFile(path, "is stored turned (EXIF orientation)", "save it upright")
    return image


def _decoded(path: Path, content: bytes) -> Image.Image:
    # For PNG, the checksum of every chunk.
    Image.open(io.BytesIO(content), formats=FORMATS).verify()
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.format == "TIFF":
        _check_tiff(path, image, len(content))
    if image.format == "PNG":
        _check_png(path, content)
    image.load()
    return image


def _tag(image: Image.Image, number: int) -> Any:
    """The first value of a TIFF tag; None if there is none."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _check_png(path: Path, content: bytes) -> None:
    """Every chunk with its checksum to the last, after which Pillow does not look at any."""
    place, kind = 8, b""
    while kind != b"IEND":
        size = int.from_bytes(content[place : place + 4], "big")
        kind, stop = content[place + 4 : place + 8], place + 8 + size
        stated = content[stop : stop + 4]
        if len(stated) < 4 or zlib.crc32(content[place + 4 : stop]) != int.from_bytes(
            stated, "big"
        ):
            raise BadFile(path, f"is damaged: its part {kind!r} does not check", AGAIN)
        place = stop + 4


def _check_tiff(path: Path, image: Image.Image, size: int) -> None:
    """Its pieces lie inside the file, and its pixels mean what Pillow takes them for."""
    tags = getattr(image, "tag_v2", {})
    places, lengths = next(
        ((tags[where], tags.get(long, ())) for where, long in (STRIPS, TILES) if where in tags),
        ((), ()),
    )
    inside = all(length > 0 and place + length <= size for place, length in zip(places, lengths))
    if not places or len(places) != len(lengths) or not inside:
        raise BadFile(path, "is truncated or damaged: its strips do not lie inside it", AGAIN)
    bits = _tag(image, BITS) or 1
    if _tag(image, COMPRESSION) in (None, 1) and image.width * image.height * bits > 8 * sum(
        lengths
    ):
        raise BadFile(path, "is truncated: its strips are shorter than its picture", AGAIN)
    if (_tag(image, SIGN) == 2 and bits == 8) or (_tag(image, PHOTOMETRIC) == 0 and bits > 1):
        cause = "has signed bytes, or white as 0, which programs read in different ways"
        raise BadFile(path, cause, "save it as unsigned grey")


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() != (255, 255):
        raise BadFile(path, "is partly transparent", "save it without transparency")
    return image.convert("L" if image.mode == "LA" else "RGB")
