"""One file in one process: forked from one that has everything imported, under limits.

Linux alone: the limits of memory and time are those of `setrlimit` and `/proc`.
"""

import gc
import hashlib
import json
import os
import resource
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CPU_S = 10
WALL_S = 120  # for what waits without computing; the machine may be busy
GROWTH, ROOM = 10, 1 << 30  # bytes: ten times the file and a gigabyte
ANSWER = 4096


@dataclass(frozen=True)
class Trial:
    """What came of it.

    `verdict` is refused, read, traceback, crash, hang or allocation; `digest` tells what was read
    from anything else; `odd` says what no volume should have (NaN, a singular affine).
    """

    verdict: str
    digest: str = ""
    odd: str = ""
    said: str = ""
    peak: int = 0
    seconds: float = 0.0


def status(word):
    """A figure of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(word + ":"):
            return int(line.split()[1]) << 10
    raise KeyError(word)


def trial(read, path, clean):
    """Read `path` with `read` in a process of its own; `clean` errors are refusals."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.close(here)
        _limited(read, path, clean, there)
    os.close(there)
    with os.fdopen(here, "rb") as pipe:
        answer = pipe.read()
    _, state, used = os.wait4(child, 0)
    seconds = used.ru_utime + used.ru_stime
    if os.WIFSIGNALED(state):
        number = os.WTERMSIG(state)
        late = number in (signal.SIGXCPU, signal.SIGALRM)
        said = signal.Signals(number).name
        return Trial("hang" if late else "crash", said=said, seconds=seconds)
    if not answer:
        return Trial("crash", said=f"exit {os.WEXITSTATUS(state)}", seconds=seconds)
    return Trial(**json.loads(answer), seconds=seconds)


def _limited(read, path, clean, pipe):
    """In the child: never returns."""
    gc.disable()
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    before = status("VmSize")
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    most = before + GROWTH * size + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(WALL_S)
    answer = _judged(read, path, clean)
    answer["peak"] = max(0, status("VmPeak") - before)
    os.write(pipe, json.dumps(answer).encode()[:ANSWER])
    os._exit(0)


def _judged(read, path, clean):
    try:
        array, affine = read(path)
        odd = implausible(array, affine)
        return {"verdict": "read", "digest": digest(array, affine), "odd": odd}
    except BaseException as error:  # whatever comes out is judged
        said = f"{type(error).__name__}: {error}"[:300]
        if starved(error):
            return {"verdict": "allocation", "said": said}
        kind = "refused" if isinstance(error, clean) else "traceback"
        if kind == "traceback":
            said = f"{said} {_where(error)}"
        elif "\n" in str(error) and clean is not Exception:
            kind, said = "traceback", f"several lines: {said}"
        return {"verdict": kind, "said": said}


def _where(error):
    steps = error.__traceback__
    while steps and steps.tb_next:
        steps = steps.tb_next
    frame = steps.tb_frame if steps else sys._getframe()
    return f"({Path(frame.f_code.co_filename).name}:{steps.tb_lineno if steps else 0})"


def starved(error):
    """Whether memory ran out anywhere on the way to this error."""
    while error is not None:
        words = str(error)
        if isinstance(error, MemoryError) or "bad_alloc" in words or "allocate memory" in words:
            return True
        error = error.__cause__ or error.__context__
    return False


def digest(array, affine):
    """Of values, shape and place."""
    array = np.ascontiguousarray(array)
    said = f"{array.shape} {array.dtype.kind} {np.asarray(affine, float).round(6).tolist()}"
    return hashlib.sha256(
        said.encode() + array.astype(array.dtype.newbyteorder("=")).tobytes()
    ).hexdigest()[:16]


def implausible(array, affine):
    """What makes a volume impossible, whatever its file says; "" if nothing."""
    affine = np.asarray(affine, float)
    if not np.isfinite(affine).all():
        return "affine not finite"
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        return "voxels not finite"
    if affine.ndim == 2:
        turn = affine[: min(affine.shape), : min(affine.shape)]
        if turn.shape[0] > 2 and abs(np.linalg.det(turn[:3, :3])) < 1e-12:
            return "affine singular"
    return "" if array.size else "no voxel"
