"""Several trainings of one run, one after the other here, or at once on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from oncoseg import cluster
from oncoseg.errors import BadRun
from oncoseg.run import Run

Work = Callable[..., Any]


def several(
    work: Work, tasks: Mapping[str, Sequence[Any]], run: Run, address: str = ""
) -> Iterator[tuple[str, Any]]:
    """The name of each task and what `work` gives for what it names, as they end.

    With the `address` of a Ray cluster each is a task there, with an equal share of the cores and,
    unless the run's device says otherwise, a GPU where there is one. One whose worker was killed is
    done again, and so must go on with what it finds. Raises `BadRun` when all others have ended if
    one failed, and at once if a machine does not see the run's folder.
    """
    if not address:
        for name, words in tasks.items():
            yield name, work(*words)
        return
    with cluster.joined(address) as ray:
        cluster.check_shared(run.folder)
        there = ray.cluster_resources().get("GPU", 0) > 0
        gpus = int(run.device.startswith("cuda") or (not run.device and there))
        slots = cluster.share_of_slots(len(tasks), gpus)
        place = str(Path.cwd()), slots, work
        given = {name: (*place, *words) for name, words in tasks.items()}
        failed = []
        for name, found in cluster.spread(
            _there, given, address=address, gpus=gpus, slots=slots, kind=""
        ):
            if isinstance(found, str):
                failed.append(found)
            else:
                yield name, found
    if failed:
        raise BadRun(f"{'; '.join(sorted(failed))}; go on with --resume, what is finished stays")


def _there(folder: str, slots: int, work: Work, *given: Any) -> Any:
    """On a worker: in the same folder, so that paths mean the same, with as many threads."""
    os.chdir(folder)
    torch.set_num_threads(slots * cluster.cores())
    return work(*given)
