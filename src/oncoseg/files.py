"""Atomic writes and checksums: a file is either whole under its name or not there at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oncoseg.errors import BadData, BadFile

# Names that Windows gives to devices, with any ending.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
LONGEST_NAME = 180  # bytes, which leaves room for endings


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it over `path` when the block ends well.

    It is flushed to disk first. The temporary name keeps every ending of the real one
    (`.nii.gz`), since writers choose their format by it. If the block fails, or the process is
    killed, `path` keeps its former content. Raises `BadFile` when the disk is full or the folder
    cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(6)}.part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        remedy = "free some space, or write to another folder; nothing was left half-written"
        raise BadFile(path, f"could not be written ({error.strerror or error})", remedy) from error
    finally:
        temporary.unlink(missing_ok=True)


def plain_name(name: str) -> str:
    """A name that files may be named by on every system, or `BadData`.

    One part of a path: no separators, no drive, no `..`, no control characters, no device of
    Windows, no dot or blank at its ends, not too long. So nothing that a file says of itself can
    choose a folder.
    """
    cause = ""
    if not name or name.strip(" .") != name or FORBIDDEN.search(name) or RESERVED.fullmatch(name):
        cause = "cannot name files on every system"
    elif len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        cause = f"is longer than {LONGEST_NAME} bytes"
    if cause:
        shown = name if len(name) < 60 else f"{name[:57]}..."
        raise BadData(f"the case {shown!r} {cause}; rename its files")
    return name


def parsed_json(text: str | bytes) -> Any:
    """JSON as the standard has it: NaN and infinity are refused, and so is what is too deep.

    Raises `ValueError`, of which `json.JSONDecodeError` says where.
    """
    try:
        return json.loads(text, parse_constant=_refused, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refused(word: str) -> float:
    raise ValueError(f"it holds {word}, which is no number")


def _finite(word: str) -> float:
    value = float(word)
    return value if math.isfinite(value) else _refused(word)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write bytes atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write UTF-8 text atomically, with LF line ends on every system."""
    return write_bytes(path, content.encode("utf-8"))


def write_json(path: str | Path, content: Any) -> Path:
    """Write readable JSON atomically; NaN and infinity are refused, as the standard does."""
    return write_text(
        path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )


def read_json(path: str | Path) -> Any:
    """Read JSON; raises `BadFile` that says where it breaks off."""
    try:
        return parsed_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadFile(path, "does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(
            path, f"cannot be read ({error})", "check that it is a JSON text file"
        ) from error
    except json.JSONDecodeError as error:
        cause = f"is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        raise BadFile(path, cause, "correct it, or make it again") from error
    except ValueError as error:
        raise BadFile(
            path, f"is not valid JSON ({error})", "correct it, or make it again"
        ) from error


def sha256(path: str | Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
