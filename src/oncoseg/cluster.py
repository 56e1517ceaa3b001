"""Past one machine: work spread over a Ray cluster, one task a case of a cohort or fold of a run.

What lost its worker, killed or out of memory, is tried again elsewhere, `TRIES` times in all. Files
have the same paths on every machine.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from oncoseg import files, memory
from oncoseg.errors import BadRun
from oncoseg.extras import require

TRIES = 3
HERE = "auto"  # the cluster this machine is part of, else one of its own cores


def spread(
    work: Callable[..., Any],
    cases: Mapping[str, Sequence[Any]],
    *,
    address: str = HERE,
    gpus: int = 0,
    slots: int = 1,
    kind: str = "case",
) -> Iterator[tuple[str, Any]]:
    """Case name and what `work` gives for what the case names, as they finish.

    In its place comes a sentence (str) if the case could not be done. A task takes `slots` of those
    that a machine was started with (`ray start --num-cpus`), and `gpus`. Raises `BadRun` if there
    is no such cluster, or none with a GPU where one is asked for.
    """
    with joined(address) as ray:
        if gpus > ray.cluster_resources().get("GPU", 0):
            raise BadRun(f"the cluster {address} has no GPU; use --device cpu")
        task = ray.remote(num_cpus=slots, num_gpus=gpus, max_retries=0)(work)
        running = {task.remote(*given): case for case, given in cases.items()}
        tries: Counter[str] = Counter()
        while running:
            finished = ray.wait(list(running))[0][0]
            case = running.pop(finished)
            tries[case] += 1
            try:
                yield case, ray.get(finished)
            except ray.exceptions.RayTaskError as error:
                yield case, f"{kind} {case}: {_sentence(error.cause)}".lstrip()
            except ray.exceptions.RayError as error:
                if tries[case] < TRIES:
                    running[task.remote(*cases[case])] = case
                else:
                    died = f"its worker died {TRIES} times ({_sentence(error)})"
                    yield case, f"{kind} {case}: {died}".lstrip()


def check_shared(folder: Path) -> None:
    """Raise `BadRun` if a machine with slots does not see a folder, after `joined`."""
    ray = require("ray", "cluster")
    path, said = folder / ".shared", secrets.token_hex()
    files.write_text(path, said)
    pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    task = ray.remote(num_cpus=0)(_read)
    asked = {
        node["NodeManagerHostname"]: task.options(
            scheduling_strategy=pinned(node["NodeID"], soft=False)
        ).remote(str(path.absolute()))
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    }
    blind = [name for name, answer in asked.items() if ray.get(answer) != said]
    path.unlink()
    if blind:
        raise BadRun(
            f"{', '.join(blind)} of the cluster does not see {folder.absolute()}; train to a "
            "folder that all its machines share"
        )


def _read(path: str) -> str:
    """What a file says, on a worker; nothing if it is not there."""
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""


def share_of_slots(tasks: int, gpus: int = 0) -> int:
    """Slots for each of so many equal tasks, after `joined`: as many as leave none waiting.

    But no more than one machine has or, where each takes a GPU, has for each of those.
    """
    ray = require("ray", "cluster")
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = [part["CPU"] // (part["GPU"] if gpus else 1) for part in there
             if part.get("CPU") and (part.get("GPU") or not gpus)]  # fmt: skip
    most = min(slots, default=1)
    return max(1, int(most if gpus else min(most, sum(slots) // max(1, tasks))))


def share() -> int:
    """Bytes that a task may hold: what this machine has left, divided by its slots."""
    return memory.resident() + memory.available() // _slots()


def cores() -> int:
    """Cores that a task may keep busy: those of this machine, divided by its slots."""
    return max(1, (os.cpu_count() or 1) // _slots())


def _slots() -> int:
    ray = require("ray", "cluster")
    here = ray.get_runtime_context().get_node_id()
    slots = [node["Resources"].get("CPU", 1) for node in ray.nodes() if node["NodeID"] == here]
    return int(max([1, *slots]))


def _sentence(error: object) -> str:
    said = " ".join(str(error).split())[:200]
    return said or type(error).__name__


def _reachable(address: str) -> None:
    """Raise `OSError` now where Ray would wait for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def joined(address: str = HERE) -> Iterator[ModuleType]:
    """Ray, as part of a cluster while the block runs; one that was joined before stays joined."""
    ray = require("ray", "cluster")
    if ray.is_initialized():
        yield ray
        return
    try:
        _reachable(address)
        ray.init(
            address=None if address == HERE else address,
            include_dashboard=None if address != HERE else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise BadRun(f"no Ray cluster at '{address}' ({_sentence(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()
