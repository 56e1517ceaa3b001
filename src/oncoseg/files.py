"""Atomic writes and checksums: a file is either whole under its name or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oncoseg.errors import BadFile


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
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadFile(path, "does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(
            path, f"cannot be read ({error})", "check that it is a JSON text file"
        ) from error
    except json.JSONDecodeError as error:
        cause = f"is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        raise BadFile(path, cause, "correct it, or make it again") from error


def sha256(path: str | Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
