"""Toy worlds in 2-D and 3-D: blobs of distinct intensity that a small network learns in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncoseg.case import Array, Case, Grid, Task, Volume


def world(
    seed: int,
    count: int,
    *,
    dims: int = 3,
    size: int = 32,
    modalities: Sequence[str] = ("a", "b"),
    classes: int = 2,
    overlapping: bool = False,
    missing: float = 0.0,
    unlabeled: float = 0.0,
    partial: float = 0.0,
) -> tuple[Task, list[Case]]:
    """A task and its cases; labels are `c1` to `c<classes>`, images integers from 0 to 255.

    `overlapping` nests the blobs, and the region of a class then holds all inside it. `missing`,
    `unlabeled` and `partial` are the fractions of cases (rounded) that lack a modality, any label,
    or one class, which is then background in the label map and not in `annotated`; the first case
    is always complete.
    """
    names = [f"c{value}" for value in range(1, classes + 1)]
    labels = {name: value for value, name in enumerate(names, start=1)}
    task = Task(
        name="world",
        modalities=tuple(modalities),
        labels=labels,
        regions={
            name: tuple(names[at:]) if overlapping else (name,) for at, name in enumerate(names)
        },
        spacing=(1.0,) * dims,
        patch=(size,) * dims,
        strides=((2,) * dims,) * 2,
    )
    rng = np.random.default_rng((seed, 0))
    # One row a modality: the background, then each class at least 40 grey values from the next.
    steps = np.linspace(40, 220, classes + 1)
    levels = np.stack([rng.permutation(steps) for _ in modalities])
    lacks = {
        what: _some(rng, count, fraction)
        for what, fraction in (("image", missing), ("labels", unlabeled), ("class", partial))
    }
    cases = [
        _case(
            np.random.default_rng((seed, 1, index)),
            index,
            task,
            levels,
            nested=overlapping,
            lacks=lacks,
        )
        for index in range(count)
    ]
    return task, cases


def _some(rng: np.random.Generator, count: int, fraction: float) -> set[int]:
    """Indices of that fraction of the cases, never the first."""
    chosen = rng.permutation(np.arange(1, count)) if count > 1 else np.array([], dtype=int)
    return {int(index) for index in chosen[: round(fraction * count)]}


def _case(
    rng: np.random.Generator,
    index: int,
    task: Task,
    levels: Array,
    *,
    nested: bool,
    lacks: dict[str, set[int]],
) -> Case:
    name = f"world_{index:03d}"
    label = _blobs(rng, task, nested=nested)
    grid = Grid(label.shape, np.eye(task.dims + 1))
    ending = "png" if task.dims == 2 else "nii.gz"
    images = {}
    for modality, level in zip(task.modalities, levels):
        noisy = level[label] + rng.normal(0, 8, label.shape)
        array = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
        images[modality] = Volume(array, grid, Path(f"{name}_{modality}.{ending}"))
    annotated = list(task.labels)
    if index in lacks["class"]:
        hidden = annotated.pop(int(rng.integers(len(annotated))))
        label = np.where(label == task.labels[hidden], 0, label).astype(np.uint8)
    if index in lacks["image"] and len(images) > 1:
        images.pop(str(rng.choice(list(images))))
    case = Case(id=name, patient=name, images=images, site=f"site{index % 2}")
    if index in lacks["labels"]:
        return case
    truth = Volume(label, grid, Path(f"{name}_seg.{ending}"))
    return Case(**{**vars(case), "labels": {case.reference: truth}, "annotated": tuple(annotated)})


def _blobs(rng: np.random.Generator, task: Task, *, nested: bool) -> Array:
    size, count = task.patch[0], len(task.labels)
    place = np.stack(np.meshgrid(*[np.arange(size)] * task.dims, indexing="ij")).astype(float)
    label = np.zeros(task.patch, dtype=np.uint8)
    middle = rng.uniform(0.38, 0.62, task.dims) * size
    # Side by side, blobs sit on a circle so that none hides another.
    turn = rng.uniform(0, 2 * np.pi)
    for at, value in enumerate(task.labels.values()):
        angle = turn + 2 * np.pi * at / count
        centre, radius = middle, 0.34 * size * (1 - at / (count + 0.6))
        if not nested:
            centre = np.full(task.dims, size / 2)
            centre[:2] += 0.25 * size * np.array([np.cos(angle), np.sin(angle)])
            radius = 0.16 * size if count > 1 else 0.25 * size
        radii = radius * rng.uniform(0.85, 1.1, task.dims)
        away = (place - centre.reshape(-1, *(1,) * task.dims)) / radii.reshape(
            -1, *(1,) * task.dims
        )
        label[(away**2).sum(0) < 1] = value
    return label
