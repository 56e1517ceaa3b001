"""The records that parts exchange: Task, Case, Batch, Prompts, Prediction.

Nothing is None: the unknown is a mask.

Frames: every affine maps voxel indices to millimetres in RAS (x to the right, y to the front, z to
the head); 2-D images have 3x3 affines in pixels unless their file says otherwise. `*S` stands for
the spatial axes, two or three of them. This module imports nothing of ours, and no torch: only
`Batch` and `Prompts` hold tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]
CROPS = ("image", "present", "label", "weight")


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: `shape` and the affine from voxel index to RAS mm."""

    shape: tuple[int, ...]
    affine: Array

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel edge lengths in mm, one an axis."""
        return tuple(float(length) for length in np.linalg.norm(self.affine[:-1, :-1], axis=0))

    @property
    def sheared(self) -> bool:
        """Whether its axes are not at right angles (by more than 0.06 degrees)."""
        axes = self.affine[:-1, :-1] / np.array(self.spacing)
        return bool(np.abs(axes.T @ axes - np.eye(self.dims)).max() > 1e-3)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm^3 (area in mm^2 in 2-D), exact also for sheared grids."""
        return float(abs(np.linalg.det(self.affine[:-1, :-1])))

    def same_as(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids put every voxel, to the far corner, at one place (`tolerance_mm`)."""
        if self.shape != other.shape:
            return False
        ends = [(0, size - 1) for size in self.shape]
        corners = np.array(np.meshgrid(*ends)).reshape(self.dims, -1)
        there = (self.affine - other.affine) @ np.vstack([corners, np.ones(corners.shape[1])])
        return bool(np.abs(there).max() <= tolerance_mm)


@dataclass(frozen=True)
class Volume:
    """One image or label map on its own grid.

    `array` (*S) is as stored, in the unit its file states; `notes` are sentences on how it was
    read that a reader must see; `channel` is its place in a file of several images.
    """

    array: Array
    grid: Grid
    path: Path
    notes: tuple[str, ...] = ()
    channel: int | None = None


@dataclass(frozen=True)
class Source:
    """Where a case lies on disk, before anything is read.

    `images` maps a modality's name to its file or folder of DICOM slices; `labels` maps the one on
    whose grid a label map was drawn to that file (empty: not labelled). `annotated` names labels or
    regions that were looked for, all if none is named; of voxels of the value `ignore` nothing is
    known. `weights` (0 to 1, or files) multiply what voxels count. Of `instances` all labels are 1.
    """

    case: str
    patient: str
    images: Mapping[str, Path]
    labels: Mapping[str, Path] = field(default_factory=dict)
    site: str = ""
    annotated: tuple[str, ...] = ()
    ignore: int = 0
    weights: tuple[float | Path, ...] = ()
    instances: bool = False


@dataclass(frozen=True)
class Case:
    """What was read for one patient at one time: each modality on its own grid.

    `labels` holds label maps by the modality on whose grid they were drawn, empty if the case is
    not labelled; `annotated` names the labels that were looked for in it (a label not named is
    unknown, never background). `ignore` and `weights` are as in `Source`.
    """

    id: str
    patient: str
    images: Mapping[str, Volume]
    labels: Mapping[str, Volume] = field(default_factory=dict)
    annotated: tuple[str, ...] = ()
    site: str = ""
    ignore: int = 0
    weights: tuple[float | Volume, ...] = ()

    @property
    def reference(self) -> str:
        """The modality on whose grid results are given: of the smallest voxels, the first."""
        return min(self.images, key=lambda name: round(self.images[name].grid.voxel_volume, 4))

    @property
    def grid(self) -> Grid:
        """The grid of `reference`, as its file has it."""
        return self.images[self.reference].grid

    @property
    def labeled(self) -> bool:
        """Whether there is any label map."""
        return bool(self.labels)

    @property
    def drawn(self) -> Volume:
        """The label map that counts: that of `reference`, else the first there is."""
        return self.labels.get(self.reference, next(iter(self.labels.values())))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted while its images were read, each with the modality before it."""
        every = self.images.items()
        return tuple(f"{name}: {note}" for name, image in every for note in image.notes)


@dataclass(frozen=True)
class Box:
    """A part of a prepared case: voxels from `start` to before `stop`, on the plan's grid."""

    case: str
    start: tuple[int, ...]
    stop: tuple[int, ...]

    def overlaps(self, other: Box) -> bool:
        """Whether both lie in one case and share a voxel."""
        edges = zip(self.start, self.stop, other.start, other.stop)
        return self.case == other.case and all(a < d and c < b for a, b, c, d in edges)


@dataclass(frozen=True)
class Task:
    """What is to be segmented, in what, and on what grid a network sees it.

    `labels` maps names to the integers in label maps (0 is always background). `regions` maps each
    output's name to the labels it is made of, in the order of the network's output channels: one
    region a label, none shared, means mutually exclusive classes (softmax with a background channel
    first); anything else means overlapping regions (a sigmoid each), for example WT = {NCR, ED,
    ET}. `spacing` (mm) and `patch` (voxels) have one entry an axis; `strides` holds the
    down-sampling of each stage below the first, one integer an axis.
    """

    name: str
    modalities: tuple[str, ...]
    labels: Mapping[str, int]
    regions: Mapping[str, tuple[str, ...]]
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    patch: tuple[int, ...] = (64, 64, 64)
    strides: tuple[tuple[int, ...], ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2))

    @property
    def dims(self) -> int:
        """2 or 3 spatial axes."""
        return len(self.patch)

    @property
    def inputs(self) -> int:
        """Number of modalities."""
        return len(self.modalities)

    @property
    def exclusive(self) -> bool:
        """Whether regions are single, unshared labels: a softmax with background then fits."""
        members = [name for region in self.regions.values() for name in region]
        return len(members) == len(set(members)) == len(self.regions)

    @property
    def outputs(self) -> int:
        """Number of output channels: a region each, background first if they are exclusive."""
        return len(self.regions) + int(self.exclusive)

    @cached_property
    def membership(self) -> Array:
        """(outputs, values): 1 where the label value belongs to the output.

        Values run from 0 to the largest label; a label in no region belongs to the background of
        exclusive classes.
        """
        table = np.zeros((self.outputs, max(self.labels.values()) + 1), dtype=np.float32)
        for row, members in enumerate(self.regions.values(), start=int(self.exclusive)):
            table[row, [self.labels[name] for name in members]] = 1
        if self.exclusive:
            table[0] = 1 - table.max(axis=0)
        return table

    def encode(self, label: Array) -> Array:
        """Label map (*S) -> membership of every output (outputs, *S), uint8."""
        return self.membership.astype(np.uint8)[:, label]

    def decode(self, logits: Array) -> Array:
        """Logits (outputs, *S) -> label map (*S) of the most probable label, uint8.

        Exclusive classes: the largest logit. Regions: taking them as independent, the log-odds of a
        label against background is the sum of the logits of the regions that hold it, so the label
        with the largest sum wins and background wins where every sum is negative: nested regions
        come out nested.
        """
        if self.exclusive:
            values = np.array([0, *(self.labels[x] for (x,) in self.regions.values())], np.uint8)
            best, place = logits[0].copy(), np.zeros(logits.shape[1:], dtype=np.uint8)
            for row in range(1, len(logits)):  # ten times as fast as argmax over the first axis
                np.maximum(place, (logits[row] > best) * np.uint8(row), out=place)
                np.maximum(best, logits[row], out=best)
            return values[place]
        best = np.zeros(logits.shape[1:], dtype=np.float32)
        label = np.zeros(logits.shape[1:], dtype=np.uint8)
        for value in self.labels.values():
            rows = np.flatnonzero(self.membership[:, value])
            score = logits[rows].sum(axis=0, dtype=np.float32)
            better = score > best
            best[better], label[better] = score[better], value
        return label

    def masks(self, label: Array) -> dict[str, Array]:
        """Label map (*S) -> region name -> boolean mask (*S)."""
        return {
            name: np.isin(label, [self.labels[member] for member in members])
            for name, members in self.regions.items()
        }

    def probabilities(self, logits: Array) -> Array:
        """Logits (outputs, *S) -> probability of each region (regions, *S), background left out."""
        if not self.exclusive:
            return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
        exponents = np.exp(logits - logits.max(axis=0, keepdims=True))
        return exponents[1:] / exponents.sum(axis=0, keepdims=True)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is its inverse."""
        return {
            "name": self.name,
            "modalities": list(self.modalities),
            "labels": dict(self.labels),
            "regions": {name: list(members) for name, members in self.regions.items()},
            "spacing": list(self.spacing),
            "patch": list(self.patch),
            "strides": [list(stride) for stride in self.strides],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        """Inverse of `as_dict`."""
        return cls(
            name=str(data["name"]),
            modalities=tuple(data["modalities"]),
            labels={str(name): int(value) for name, value in data["labels"].items()},
            regions={str(name): tuple(members) for name, members in data["regions"].items()},
            spacing=tuple(float(length) for length in data["spacing"]),
            patch=tuple(int(size) for size in data["patch"]),
            strides=tuple(tuple(int(step) for step in stride) for stride in data["strides"]),
        )


@dataclass(frozen=True)
class Prompts:
    """What a person pointed at. Empty tensors mean that nothing was said.

    `points` (B, P, dims) voxel coordinates in the patch; `foreground` (B, P): 1 inside, 0 outside,
    -1 no point; `boxes` (B, Q, 2, dims) lower and upper corner, no box where they are crossed;
    `mask` (B, 1, *S) the segmentation so far, without a channel where there is none; `text` one
    phrase an item, or none.
    """

    points: Tensor
    foreground: Tensor
    boxes: Tensor
    mask: Tensor
    text: tuple[str, ...] = ()

    @classmethod
    def none(cls, image: Tensor) -> Prompts:
        """No prompts for images (B, M, *S)."""
        size, dims = image.shape[0], image.ndim - 2
        empty = image.new_zeros
        points, boxes = empty(size, 0, dims), empty(size, 0, 2, dims)
        return cls(points, empty(size, 0), boxes, empty(size, 0, *image.shape[2:]))


@dataclass(frozen=True)
class Batch:
    """Patches on their way through a network.

    image (B, M, *S) normalised, 0 where not present; present (B, M, *S) bool, which modality covers
    which voxel; label (B, outputs, *S) membership of each output in [0, 1]; weight (B, 1, *S) of
    each voxel in the loss, 0 outside the scan; labeled (B,) bool; annotated (B, outputs) bool;
    domain (B,) integer site; prompts.
    """

    image: Tensor
    present: Tensor
    label: Tensor
    weight: Tensor
    labeled: Tensor
    annotated: Tensor
    domain: Tensor
    prompts: Prompts

    def but(self, **changes: Any) -> Batch:
        """A copy with some fields replaced: the only way a batch changes, so no field is lost."""
        return replace(self, **changes)

    def to(self, device: Any, **options: Any) -> Batch:
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, **options))

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def __getitem__(self, index: Any) -> Batch:
        """Select items along the batch axis with a slice, a boolean mask or indices."""
        chosen = self._each(lambda tensor: tensor[index])
        if not self.prompts.text:
            return chosen
        plain = getattr(index, "tolist", lambda: index)
        which = index if isinstance(index, slice) else np.array(plain())
        text = tuple(self.prompts.text[row] for row in np.arange(len(self))[which])
        return chosen.but(prompts=replace(chosen.prompts, text=text))

    def _each(self, change: Any) -> Batch:
        said, told = self.prompts, ("points", "foreground", "boxes", "mask")
        prompts = replace(said, **{name: change(getattr(said, name)) for name in told})
        names = (*CROPS, "labeled", "annotated", "domain")
        return replace(self, prompts=prompts, **{key: change(getattr(self, key)) for key in names})


@dataclass(frozen=True)
class Prediction:
    """What a model says of one case, on the grid of the case's own reference image.

    label (*S) uint8, values as in `task.labels`; probability (regions, *S) float16, in the order of
    `task.regions`, none if not kept; `used` and `missing` name modalities; `images` maps those used
    to their files, `channels` to their places in files of several; `notes` are sentences a reader
    must see; `maps` further maps (*S); `intervals` hold a region's true volume (ml; 2-D: mm²) in a
    share `level` of cases; `inputs` what identifies an image; `confidence` the Dice to be expected,
    `predicted_dice` its `value`, `low`, `high`, `level` if held-out cases bound it, `ratios` of
    shares as `NCR / TC`; `lesions` have size and confidence; `samples` counts answers averaged.
    """

    case: str
    task: Task
    grid: Grid
    label: Array
    probability: Array
    used: tuple[str, ...]
    missing: tuple[str, ...] = ()
    images: Mapping[str, Path] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    maps: Mapping[str, Array] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    level: float = 0.0
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    predicted_dice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    lesions: tuple[Mapping[str, Any], ...] = ()
    unlikeness: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def masks(self) -> dict[str, Array]:
        """Region name -> boolean mask (*S)."""
        return self.task.masks(self.label)

    def but(self, **changes: Any) -> Prediction:
        """A copy with some fields replaced."""
        return replace(self, **changes)
