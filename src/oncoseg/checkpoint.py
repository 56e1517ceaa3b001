"""Checkpoints of a run.

Weights, optimiser and progress in safetensors files, written atomically, no pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oncoseg import files
from oncoseg.errors import BadFile


@dataclass
class Progress:
    """How far a run is: next step, seconds spent, best validation so far and at which step."""

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_step: int = -1


def save(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> Path:
    """Write tensors `module.parameter` and `optimiser.index.name`.

    Progress goes into the header.
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
    with files.atomic(path) as temporary:
        save_file(copies, temporary, metadata={"progress": json.dumps(vars(progress))})
    return path


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
    """All tensors and the header of a safetensors file."""
    try:
        with safe_open(str(path), framework="pt") as handle:
            return {
                name: handle.get_tensor(name) for name in list(handle.keys())
            }, handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadFile(
            path, f"is not a whole checkpoint ({error})", "resume from the other checkpoint"
        ) from error
