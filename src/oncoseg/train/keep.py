"""Keep: what a run has learned outlives kills, full disks, requests to stop and broken losses."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from oncoseg import files
from oncoseg.errors import BadRun, DiskFull

EVERY = 300.0  # seconds of work that a kill may cost
WAIT, PATIENCE = 10.0, 3600.0  # seconds between looks at a full disk, and of all of them
TRIES, LOWER = 3, 0.3  # times that a run goes back, and what becomes of the rate each time
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOG = logging.getLogger(__name__)


class Stop:
    """Whether a run was asked to end: by SIGTERM, Ctrl-C or a file `stop` in its folder.

    A signal only asks while this is entered, so that a step ends and is saved; a second one acts as
    it ever does.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.signal = folder / "stop", ""
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        while self.before:
            number, handler = self.before.popitem()
            signal.signal(number, handler or signal.SIG_DFL)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        self.__exit__()

    @property
    def asked(self) -> str:
        """By what, or "" if it was not."""
        return self.signal or (f"the file {self.file}" if self.file.exists() else "")

    @property
    def code(self) -> int:
        """The exit code that tells by what: 128 and the number of a signal, else as Ctrl-C."""
        return 128 + signal.Signals[self.signal or "SIGINT"]

    def honoured(self) -> None:
        """Take the file away, so that the run can go on."""
        self.file.unlink(missing_ok=True)


def patiently(save: Callable[[], object], stop: Stop) -> float:
    """Save; while the disk is full, wait for room, and say so. Gives the seconds waited.

    What is in memory is the only copy of the work since the last checkpoint, and room is made in a
    moment by someone who is told. Raises `DiskFull` after an hour, or when asked to stop meanwhile.
    """
    began, waited = time.monotonic(), 0.0
    while True:
        try:
            save()
        except DiskFull as error:
            if stop.asked or waited >= PATIENCE:
                raise
            if not waited:
                LOG.warning(
                    "%s: the disk is full; training waits for room (up to %d minutes) and then "
                    "goes on: free some",
                    *(error.path, PATIENCE // 60),
                )
            time.sleep(WAIT)
            waited = time.monotonic() - began
        else:
            return waited


def note(path: Path, line: Mapping[str, Any] | None, step: int) -> None:
    """Add a line to `metrics.jsonl`, without those of steps after `step`, which are made again."""
    kept = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                ahead = files.parsed_json(text)["step"] > step
            except (ValueError, KeyError, TypeError):
                ahead = True  # half a line, or none of ours
            kept += [] if ahead else [text]
    kept += [json.dumps(line)] if line else []
    files.write_text(path, "".join(f"{text}\n" for text in kept))


def sound(modules: Mapping[str, nn.Module]) -> bool:
    """Whether all parameters are numbers."""
    values = [value for module in modules.values() for value in module.parameters()]
    return all(bool(torch.isfinite(value).all()) for value in values)


def where(device: torch.device, processes: int = 1) -> str:
    """What decides, beside a run and its data, to which bits arithmetic rounds."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    said = f"torch {torch.__version__} on {name}, {torch.get_num_threads()} threads"
    return f"{said}, {processes} processes" if processes > 1 else said


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let torch choose only what gives the same bits each time; `BadRun` where it has no such way.

    On a CPU that changes nothing that networks use; on a GPU some operations are slower.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if not wanted:
        yield
        return
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        cause = str(error).split(". ")[0]
        raise BadRun(f"{cause}; train on the cpu, or without --deterministic") from error
    finally:
        torch.use_deterministic_algorithms(mode=before[0])
        torch.backends.cudnn.benchmark = before[1]
