"""The plan: what a fingerprint of the data set decides, by rules a person can read.

It is JSON that a person can edit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files
from oncoseg.blocks.modalities import absolute
from oncoseg.case import Array, Task
from oncoseg.errors import BadData, BadFile
from oncoseg.prepare.stretch import Stretch

FORMAT = "oncoseg-plan-1"
LARGEST_PATCH = 1 << 27
SCHEMES = ("image", "dataset", "zscore", "none", "unit", "bytes", "nonzero")


@dataclass(frozen=True)
class Normalisation:
    """How one modality's intensities are brought to a common scale.

    Scheme `image`: mean 0 and deviation 1 over the body of each image, for arbitrary units (MRI,
    pictures). Scheme `dataset`: clipped to [low, high] and scaled by the data set's own mean and
    deviation, for units that mean something (HU, SUV). Those of nnU-Net beside `dataset`: `zscore`,
    mean 0 and deviation 1 over the whole image, or where any modality is not 0 (`masked`); `none`;
    `unit`, from 0 to 1; `bytes`, colours divided by 255. That of MONAI: `nonzero`, mean 0 and
    deviation 1 over the voxels that are not 0, which stay 0.
    """

    scheme: str = "image"
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0
    masked: bool = False

    def __call__(self, image: Array, present: Array) -> Array:
        """Image (*S) float32 on the working grid and where the scan covers it -> normalised.

        The result is 0 where the scan does not cover it.
        """
        if self.scheme != "image":
            return np.where(present, self._scaled(image, present), 0).astype(np.float32)
        if not present.any():
            return np.zeros_like(image)
        inside = present & (image > image.min(initial=np.inf, where=present))
        filled = np.count_nonzero(inside) / np.count_nonzero(present)
        inside = inside if 0 < filled <= 0.95 else present
        values = image[inside]
        scaled = (image - float(values.mean())) / max(float(values.std()), 1e-6)
        return np.where(inside, scaled, 0).astype(np.float32, copy=False)

    def _scaled(self, image: Array, present: Array) -> Array:
        if self.scheme == "dataset":
            return (np.clip(image, self.low, self.high) - self.mean) / self.deviation
        if self.scheme == "zscore":
            values = image[present]
            return (image - values.mean()) / max(values.std(), 1e-8)
        if self.scheme == "unit":
            least = image[present].min()
            return (image - least) / max(image[present].max() - least, 1e-8)
        if self.scheme == "nonzero":
            return _of_nonzero(image)
        if self.scheme == "bytes":
            if image.min() < 0 or image.max() > 255:
                raise BadData("colours are from 0 to 255, and these are not; give pictures")
            return image / np.float32(255)
        return image


def _of_nonzero(image: Array) -> Array:
    inside = image != 0
    values = image[inside]
    spread = float(values.std()) if values.size else 0.0
    return np.where(inside, (image - values.mean()) / spread, 0) if spread else 0 * image


MOST = 96**3  # voxels of a patch where there is time
ACROSS = 20  # pixels across a structure, with which a network learns it best


@dataclass(frozen=True)
class Fingerprint:
    """What the rules look at.

    These are shapes and spacings of the cut cases (RAS axes), foreground intensities, and how far
    across the parts of each label are, in each case that has it (mm).
    """

    shapes: list[tuple[int, ...]]
    spacings: list[tuple[float, ...]]
    intensities: dict[str, list[Array]]
    across: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The task on its grid, how each modality is normalised, and how many patches a step sees."""

    task: Task
    normalisation: dict[str, Normalisation] = field(default_factory=dict)
    batch: int = 2
    stretch: Stretch | None = None  # of models that other programs trained

    def write(self, path: Path) -> Path:
        """As JSON, atomically."""
        return files.write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` is its inverse."""
        schemes = {name: vars(scheme) for name, scheme in self.normalisation.items()}
        foreign = {"stretch": vars(self.stretch)} if self.stretch else {}
        return {
            "format": FORMAT,
            "task": self.task.as_dict(),
            "normalisation": schemes,
            "batch": self.batch,
            **foreign,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], path: Path) -> Plan:
        """Inverse of `as_dict`; `path` is named in the error if something is missing."""
        try:
            schemes = {
                name: Normalisation(**scheme) for name, scheme in data["normalisation"].items()
            }
            stretch = Stretch.from_dict(data["stretch"]) if "stretch" in data else None
            plan = cls(Task.from_dict(data["task"]), schemes, int(data["batch"]), stretch)
            _check(plan)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            cause = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise BadFile(
                path, f"is not a whole plan ({cause})", "correct it, or prepare the data again"
            ) from error
        return plan

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read what `write` wrote, or a person edited."""
        return cls.from_dict(files.read_json(path), path)


def _check(plan: Plan) -> None:
    """Raise `ValueError` on what a person may have edited wrongly."""
    task, schemes = plan.task, plan.normalisation
    axes = {len(task.patch), len(task.spacing), *map(len, task.strides)}
    sizes = [
        *task.patch,
        *task.spacing,
        plan.batch,
        *(step for row in task.strides for step in row),
    ]
    members = {member for region in task.regions.values() for member in region}
    kinds = {scheme.scheme for scheme in schemes.values()}
    numbers = [number for each in schemes.values() for number in (each.low, each.high, each.mean)]
    faults = {
        "patch, spacing and strides must have 2 or 3 axes alike": axes not in ({2}, {3}),
        "patch, spacing, strides and batch must be above 0": not all(size > 0 for size in sizes),
        "every modality needs a normalisation": not set(task.modalities) <= schemes.keys(),
        f"a scheme is one of {', '.join(SCHEMES)}": not kinds <= {*SCHEMES},
        "stretch is of plans with 3 axes": plan.stretch is not None and task.dims != 3,
        "a deviation must be above 0": not all(each.deviation > 0 for each in schemes.values()),
        "low, high, mean and deviation are finite numbers": not all(map(math.isfinite, numbers)),
        f"a patch has at most {LARGEST_PATCH} voxels": math.prod(task.patch) > LARGEST_PATCH,
        "spacing is from 0.001 to 1000": not all(1e-3 <= size <= 1e3 for size in task.spacing),
        "regions must be made of the labels": not members <= task.labels.keys() or not members,
        "a region is made of one label at least": not all(task.regions.values()),
        "labels are from 1 to 255": not all(0 < value < 256 for value in task.labels.values()),
    }
    for fault, there in faults.items():
        if there:
            raise ValueError(fault)


def make_plan(task: Task, fingerprint: Fingerprint, *, voxels: int = MOST) -> Plan:
    """Fingerprint -> plan; `voxels` bounds the size of a patch.

    Spacing: the median of each axis, or its 10th percentile where that axis is three times coarser
    than the finest. Where time is short, and so `voxels` below the usual 96^3, the finest axes are
    made coarser, up to three times, until a patch holds a quarter of the median scan. Those of
    pictures are, until the smallest label has `ACROSS` pixels across, by the median of its cases.
    Patch: the median shape on that grid, its longest axis shortened until it fits. Strides: halve
    every axis that still has eight voxels and is not yet coarser than twice the finest, while any
    can be halved, five times at most.
    """
    spacings = np.array(fingerprint.spacings)
    spacing = np.median(spacings, axis=0)
    coarse = spacing > 3 * spacing.min()
    spacing = np.where(coarse, np.percentile(spacings, 10, axis=0), spacing)
    lengths = np.array([np.array(shape) * old for shape, old in zip(fingerprint.shapes, spacings)])
    if voxels < MOST:
        spacing = coarsened(np.median(lengths, axis=0), spacing, 4 * voxels)
    if len(spacing) == 2 and fingerprint.across:
        smallest = min(float(np.median(each)) for each in fingerprint.across.values())
        spacing = np.maximum(spacing, smallest / ACROSS)
    sizes = lengths / spacing
    patch, strides = patch_and_strides(np.median(sizes, axis=0), spacing, voxels)
    batch = int(np.clip(voxels * 2 // int(np.prod(patch)), 2, 8))
    planned = Task(
        name=task.name,
        modalities=task.modalities,
        labels=task.labels,
        regions=task.regions,
        spacing=tuple(round(float(length), 4) for length in spacing),
        patch=patch,
        strides=strides,
    )
    schemes = {
        name: normalisation(name, fingerprint.intensities.get(name, [])) for name in task.modalities
    }
    return Plan(planned, schemes, batch)


def coarsened(length: Array, spacing: Array, voxels: int) -> Array:
    """Spacing at which a scan of this length (mm) has at most `voxels`: the finest axes give way.

    No axis becomes more than three times coarser than the finest was.
    """
    end = 3 * spacing.min()
    while np.prod(length / spacing) > voxels and spacing.min() < end:
        spacing = np.where(spacing < 1.02 * spacing.min(), spacing * 1.02, spacing)
    return spacing


def patch_and_strides(
    shape: Array, spacing: Array, voxels: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Patch (voxels) and strides for a median shape and spacing: see `make_plan`."""
    size = np.maximum(np.ceil(shape), 8).astype(int)
    while np.prod(size) > voxels:
        size[np.argmax(size * spacing / spacing.min())] -= 1
    strides: list[tuple[int, ...]] = []
    left, length = size.copy(), spacing.astype(float).copy()
    while len(strides) < 5:
        stride = np.where((left >= 8) & (length < 2 * length[left >= 8].min(initial=np.inf)), 2, 1)
        if (stride == 1).all():
            break
        strides.append(tuple(int(step) for step in stride))
        left, length = -(-left // stride), length * stride
    factor = np.prod(strides, axis=0) if strides else np.ones_like(size)
    patch = np.maximum(factor, (size // factor) * factor)
    wider = patch + factor
    patch = np.where((patch < size) & (np.prod(wider) <= voxels * 1.2), wider, patch)
    return tuple(int(length) for length in patch), tuple(strides)


def normalisation(name: str, samples: Sequence[Array]) -> Normalisation:
    """Scheme `dataset` for modalities whose name says that their unit is absolute.

    All others get `image`.
    """
    if not absolute(name) or not samples:
        return Normalisation()
    values = np.concatenate(samples)
    low, high = (float(edge) for edge in np.percentile(values, (0.5, 99.5)))
    inside = np.clip(values, low, high)
    spread = max(float(inside.std()), 1e-6)
    return Normalisation(
        "dataset", round(low, 4), round(high, 4), round(float(inside.mean()), 4), round(spread, 4)
    )
