"""Atomic writes and checksums: a file is either whole under its name or not there at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from oncoseg.errors import BadData, BadFile, Busy, DiskFull

if sys.platform != "win32":
    import fcntl

# Names that Windows gives to devices, with any ending.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
PART = re.compile(r"\.[0-9a-f]{12}\.part\..+")  # what `atomic` names its temporary files
LONGEST_NAME = 180  # bytes, which leaves room for endings
FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it over `path` when the block ends well.

    It is flushed to disk first. The temporary name keeps every ending of the real one
    (`.nii.gz`), since writers choose their format by it. If the block fails, or the process is
    killed, `path` keeps its former content. Raises `DiskFull` when the disk is, and `BadFile` when
    the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(6)}.part.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as held:
            with suppress(OSError):
                _lock(held.fileno())
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        remedy = "free some space, or write to another folder; nothing was left half-written"
        kind = DiskFull if error.errno in FULL else BadFile
        raise kind(path, f"could not be written ({error.strerror or error})", remedy) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Hold a file, made where it is not, for this process; `Busy` while another one does.

    A process that is killed holds nothing any more.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        try:
            _lock(handle.fileno())
        except BlockingIOError as error:
            cause = "another process is at work there; wait for it, or write elsewhere"
            raise Busy(f"{path.parent}: {cause}") from error
        except OSError:
            pass  # a file system without locks
        yield


def _lock(handle: int) -> None:
    """Hold a file for this process alone, if the system can; `OSError` if another one does."""
    if sys.platform != "win32":
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(folder: str | Path) -> None:
    """Remove what killed processes left half-written in a folder.

    What a living process writes stays: it holds a lock (on Windows: an open file), which ends with
    the process. Where a file system has no locks, all stays.
    """
    for path in Path(folder).glob(".*.part.*"):
        if PART.fullmatch(path.name):
            with suppress(OSError):
                with path.open("rb") as handle:
                    _lock(handle.fileno())
                path.unlink()


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
