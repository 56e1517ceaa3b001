"""Checkpoints of a run.

Weights, optimiser and progress in safetensors files, written atomically, no pickle. A checksum in
the header covers all of it, and the checkpoint before the last is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oncoseg import files
from oncoseg.errors import BadFile

REMEDY = "the disk or a program has changed it"
LOG = logging.getLogger(__name__)


class Damaged(BadFile):
    """A checkpoint that is not, byte for byte, what was written."""


@dataclass
class Progress:
    """How far a run is: next step, seconds spent, best validation so far and at which step.

    That is the place in the schedule and in the sampler, and the state of all randomness too, which
    comes from the run's seed and the step alone. `broke` lists the steps at which the loss was no
    longer a number and training went back; `where` says what it was computed on.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_step: int = -1
    broke: list[int] = field(default_factory=list)
    where: str = ""


def older(path: Path) -> Path:
    """The checkpoint before the one at `path`."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def found(path: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return path.exists() or older(path).exists()


def save(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> Path:
    """Write tensors `module.parameter` and `optimiser.index.name`.

    Progress goes into the header. What stood at `path` becomes `older(path)`; at every instant one
    of the two is whole. Raises `DiskFull` or `BadFile`.
    """
    tensors = {
        f"{prefix}.{name}": value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    for index, entry in optimiser.state_dict()["state"].items():
        tensors.update({f"optimiser.{index}.{name}": value for name, value in entry.items()})
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    text = json.dumps(vars(progress))
    header = {"progress": text, "sha256": _digest(copies, text)}
    with files.atomic(path) as temporary:
        _write(copies, temporary, header)
        if path.exists():
            _copy(path, older(path))
    return path


def _write(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        save_file(dict(tensors), path, metadata=header)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else 0
        # The last is the number on Windows, from which it derives the first.
        raise OSError(code, os.strerror(code) if code else str(error), None, code) from error


def _copy(path: Path, to: Path) -> None:
    """The same file under a second name, at once where the disk can."""
    link = to.with_name(f"{to.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
        link.replace(to)
    except OSError:
        with files.atomic(to) as temporary:
            shutil.copyfile(path, temporary)


def _digest(tensors: Mapping[str, Tensor], progress: str) -> str:
    """Of names, types, shapes and bytes of all tensors, and of the progress."""
    digest = hashlib.sha256(progress.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def resume(
    path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> Progress:
    """`load`; where that file is damaged, from the one before it, which then takes its place.

    It says so. Raises `BadFile` where both are damaged.
    """
    try:
        return load(path, modules, optimiser)
    except Damaged as error:
        if not older(path).exists():
            raise
        progress = load(older(path), modules, optimiser)
        _copy(older(path), path)
        LOG.warning("%s; going on from the one before, at step %d", error, progress.step)
        return progress


def load(
    path: Path, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> Progress:
    """Inverse of `save`, into modules and optimiser of the same run.

    Raises `BadFile` on anything else.
    """
    tensors, header = read(path)
    try:
        for prefix, module in modules.items():
            start = f"{prefix}."
            module.load_state_dict(
                {
                    name[len(start) :]: value
                    for name, value in tensors.items()
                    if name.startswith(start)
                }
            )
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict(
            {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
        )
        return Progress(**json.loads(header["progress"]))
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        cause = f"does not fit this run ({str(error).splitlines()[0]})"
        raise BadFile(path, cause, "train to another file, or without --resume") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors and the header of a safetensors file; raises `Damaged`."""
    try:
        with safe_open(str(path), framework="pt") as handle:
            tensors = {name: handle.get_tensor(name) for name in list(handle.keys())}
            header = handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise Damaged(path, f"is not a whole checkpoint ({error})", REMEDY) from error
    if header.get("sha256") != _digest(tensors, header.get("progress", "")):
        raise Damaged(path, "is not a whole checkpoint (its checksum is of other bytes)", REMEDY)
    return tensors, header
