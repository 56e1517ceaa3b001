"""What is finished stays finished: one line of JSON a compared case, so a killed run goes on.

Lines are only ever added, each in one write. One that is torn, or damaged in any other way, is
passed over: its case is compared again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from oncoseg import __version__, files
from oncoseg.errors import BadFile
from oncoseg.evaluate.table import Row

NAME = "finished.jsonl"
DETACHED = (".nhdr", ".mhd")
NUMBERS = ("value", "predicted_ml", "true_ml")


@dataclass(frozen=True)
class Finished:
    """The rows of one case, what must be said of it, and a region's bins (see `reliability`)."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    bins: Mapping[str, list[list[float]]] = field(default_factory=dict)

    @property
    def compared(self) -> bool:
        """Whether all values are of a comparison, and may be kept: failures are tried again."""
        return all(row.status == "ok" and not math.isinf(row.value) for row in self.rows)


class Kept:
    """The finished cases of a folder; without a folder nothing is kept.

    `asked` is all that values depend on beside the files of a case.
    """

    def __init__(self, folder: Path | None, asked: Any) -> None:
        self.path = None if folder is None else folder / NAME
        self.asked = asked
        self.lock = Lock()
        self.lines: dict[str, str] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def key(self, case: str, roles: Mapping[str, Path]) -> str:
        """Names one comparison of one case: other content, options or version, another key.

        Empty if nothing is kept, a file cannot be read, or its voxels are in another one.
        """
        if self.path is None or any(path.suffix in DETACHED for path in roles.values()):
            return ""
        try:
            content = {role: _content(path) for role, path in sorted(roles.items())}
        except OSError:
            return ""
        said = json.dumps([__version__, self.asked, case, content], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def get(self, key: str) -> Finished | None:
        """What was found before under this key."""
        line = self.lines.get(key)
        return None if line is None else _parsed(line)[1]

    def add(self, key: str, finished: Finished) -> None:
        """Keep a compared case; raises `BadFile` if the folder cannot be written."""
        if self.path is None or not key or not finished.compared:
            return
        record = {"key": key, "notes": list(finished.notes), "bins": dict(finished.bins)}
        rows = [_plain(row) for row in finished.rows]
        line = json.dumps({**record, "rows": rows}, ensure_ascii=False, allow_nan=False) + "\n"
        with self.lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab", buffering=0) as handle:
                    handle.write(line.encode())
            except OSError as error:
                remedy = "free some space, or write to another folder; what is finished is kept"
                cause = f"could not be written ({error.strerror or error})"
                raise BadFile(self.path, cause, remedy) from error

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            if not content.endswith(b"\n"):  # torn: the next line must not begin within it
                with path.open("ab") as handle:
                    handle.write(b"\n")
        except OSError as error:
            cause = f"cannot be read ({error.strerror or error})"
            raise BadFile(path, cause, "remove it, or write to another folder") from error
        for line in content.decode(errors="replace").split("\n"):
            try:
                self.lines[_parsed(line)[0]] = line
            except (ValueError, TypeError, KeyError, AttributeError):
                continue


def _content(path: Path) -> Any:
    """A file's digest; of a folder of slices their names, sizes and times of change."""
    if path.is_dir():
        inside: Iterable[Path] = sorted(path.rglob("*"))
        return [
            [str(one.relative_to(path)), one.stat().st_size, one.stat().st_mtime_ns]
            for one in inside
        ]
    return files.sha256(path)


def _plain(row: Row) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(row).items()
    }


def _parsed(line: str) -> tuple[str, Finished]:
    record = files.parsed_json(line)
    rows = tuple(
        Row(**{**row, **{name: _number(row[name]) for name in NUMBERS}}) for row in record["rows"]
    )
    bins = {
        str(region): [list(map(float, one)) for one in table]
        for region, table in record["bins"].items()
    }
    return str(record["key"]), Finished(rows, tuple(map(str, record["notes"])), bins)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
