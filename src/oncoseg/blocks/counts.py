"""Voxels of label maps counted, all regions at once: no mask of any is made, however many."""

from __future__ import annotations

import numpy as np

from oncoseg.case import Array, Task

PIECE = 2**22  # voxels counted at once


def counts(label: Array, truth: Array | None = None) -> Array:
    """How often each value of a label map (*S) meets each of another (256, 256), or (256, 1)."""
    other = 1 if truth is None else 256
    table = np.zeros(256 * other, dtype=np.int64)
    flat, true = label.ravel(), None if truth is None else truth.ravel()
    for start in range(0, flat.size, PIECE):
        pair = flat[start : start + PIECE].astype(np.int64) * other
        if true is not None:
            pair += true[start : start + PIECE]
        table += np.bincount(pair, minlength=table.size)
    return table.reshape(256, other)


def dice(task: Task, label: Array, truth: Array) -> dict[str, float]:
    """Region -> Dice of a label map (*S) and the true one; 1 if it is in neither."""
    table, found = counts(label, truth), {}
    for name, members in task.regions.items():
        values = [task.labels[member] for member in members]
        both = table[np.ix_(values, values)].sum()
        total = table[values].sum() + table[:, values].sum()
        found[name] = float(2 * both / total) if total else 1.0
    return found
