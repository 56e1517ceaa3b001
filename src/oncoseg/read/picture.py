"""Pictures (PNG, JPEG, TIFF, BMP): rows by columns, on a grid of pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from oncoseg.case import Array, Grid
from oncoseg.errors import BadFile

AGAIN = "copy or download it again"
GREY = {"1", "L", "I", "F", "I;16", "I;16B", "I;16L"}
PNG_END = b"IEND\xaeB`\x82"
ROTATION = 0x0112  # EXIF tag of the orientation


def read(path: Path, *, label: bool = False) -> tuple[Array, Grid, list[str]]:
    """Array (H, W), or (H, W, 3) for colours, and the pixel grid.

    As a label, a palette picture gives its indices, not its colours, and JPEG is refused since its
    compression makes up values. Raises `BadFile`.
    """
    image = _open(path)
    if label and image.format == "JPEG":
        raise BadFile(path, "is a label map in JPEG, which changes values", "save it as PNG")
    if image.mode in ("P", "PA") and not label:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA"):
        image = _opaque(path, image)
    if image.mode not in GREY | {"RGB", "P"}:
        raise BadFile(path, f"has colours of the kind {image.mode}", "save it as RGB or grey")
    array = np.array(image)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array, Grid(array.shape[:2], np.eye(3)), []


def read_label(path: Path) -> tuple[Array, Grid, list[str]]:
    """As `read`, for label maps."""
    return read(path, label=True)


def _open(path: Path) -> Image.Image:
    content = path.read_bytes()
    try:
        Image.open(io.BytesIO(content)).verify()  # for PNG the checksum of every chunk
        image = Image.open(io.BytesIO(content))
        image.load()
        frames = getattr(image, "n_frames", 1)
    except UnidentifiedImageError as error:
        raise BadFile(path, "is no picture that can be read", AGAIN) from error
    except Image.DecompressionBombError as error:
        raise BadFile(path, "is too large for a picture", "cut it into tiles") from error
    except (OSError, SyntaxError, ValueError, TypeError, EOFError) as error:
        raise BadFile(path, f"is truncated or damaged ({error})", AGAIN) from error
    if image.format == "PNG" and PNG_END not in content[-16:]:
        raise BadFile(path, "is truncated: a PNG without its end", AGAIN)
    if frames > 1:
        raise BadFile(path, f"holds {frames} pictures", "save each as a file")
    if image.getexif().get(ROTATION, 1) != 1:
        raise BadFile(path, "is stored turned (EXIF orientation)", "save it upright")
    return image


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() != (255, 255):
        raise BadFile(path, "is partly transparent", "save it without transparency")
    return image.convert("L" if image.mode == "LA" else "RGB")
