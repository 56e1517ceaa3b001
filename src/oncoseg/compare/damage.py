"""Damaged copies of scans: without modalities, with voxels that read nothing, with noise.

A folder a condition, named as `oncoseg.compare.conditions` reads them, which any tool can predict.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from oncoseg.blocks import layouts
from oncoseg.case import Array, Source
from oncoseg.compare.conditions import FULL, LEVELS
from oncoseg.errors import BadData, BadOption
from oncoseg.evaluate.stream import streamed
from oncoseg.read import find, read_volume
from oncoseg.write import write_volume

Make = Callable[[Array, np.random.Generator], Array]
NOISE = dict(zip(LEVELS, ((0.05, 0.1), (0.1, 0.2), (0.2, 0.5))))  # voxels at the ends, deviations


def damage(scans: Path, *, to: Path, rates: Sequence[float] = (25,)) -> list[Path]:
    """Write `scans`, in any layout with a file a modality, under every condition; the folders.

    `full`; `missing-A+B` for every set of modalities but all of them; `random25-A+B`, in which 25 %
    (each of `rates`) of their voxels read nothing, the lowest value of the image; `noise-low`,
    `noise-middle` and `noise-high` in all, where 5, 10 or 20 % of the voxels are at the image's
    ends and Gaussian noise of 0.1, 0.2 or 0.5 deviations is added. Noise is within voxels above the
    lowest value alone, so that a stripped head stays stripped; deviations are theirs. Every run
    writes the same. Raises `BadData` for one modality alone, or scans in folders of slices.
    """
    wrong = [rate for rate in rates if not 0 < rate < 100]
    if wrong:
        raise BadOption(f"a share of voxels is in percent, above 0 and below 100, not {wrong[0]:g}")
    root = Path(scans).resolve()
    sources = find(root).sources
    for source in sources:
        _checked(source)
    modalities = list(dict.fromkeys(name for source in sources for name in source.images))
    if len(modalities) < 2:
        raise BadData(f"{scans}: has {len(modalities)} modality; missing ones need two or more")
    found = _conditions(modalities, rates)
    items = [
        (Path(to) / name, source.images[modality].resolve(), make)
        for name, changes in found.items()
        for source in sources
        for modality, make in changes.items()
        if modality in source.images
    ]
    for whole in (True, False):  # first what the others share
        some = [item for item in items if (item[0].name == FULL) == whole]
        for _ in streamed(partial(_written, root=root), some, title="damage", unit="file"):
            pass
    return [Path(to) / name for name in found]


def _checked(source: Source) -> None:
    for path in source.images.values():
        if path.is_dir() or list(source.images.values()).count(path) > 1:
            cause = "is no file of one modality"
            raise BadData(f"{path}: {cause}; convert case {source.case} to a NIfTI file a modality")


def _conditions(
    modalities: Sequence[str], rates: Sequence[float]
) -> dict[str, Mapping[str, Make | None]]:
    """Name -> modality -> what changes it, None for nothing; without those that are left out."""
    found: dict[str, Mapping[str, Make | None]] = {FULL: dict.fromkeys(modalities)}
    for count in range(1, len(modalities)):
        for chosen in combinations(modalities, count):
            words = "+".join(chosen)
            found[f"missing-{words}"] = dict.fromkeys(n for n in modalities if n not in chosen)
            for rate in rates:
                make = partial(emptied, share=rate / 100)
                changes = {name: make if name in chosen else None for name in modalities}
                found[f"random{rate:g}-{words}"] = changes
    for level, (ends, deviations) in NOISE.items():
        loud: Make = partial(noisy, ends=ends, deviations=deviations)
        found[f"noise-{level}"] = dict.fromkeys(modalities, loud)
    return found


def emptied(image: Array, rng: np.random.Generator, *, share: float) -> Array:
    """An image (*S) of which a share of the voxels reads nothing."""
    return np.where(rng.random(image.shape) < share, image.min(), image)


def noisy(image: Array, rng: np.random.Generator, *, ends: float, deviations: float) -> Array:
    """Salt and pepper, then Gaussian noise, in the voxels (*S) above the lowest value."""
    inside = image > image.min()
    if not inside.any():
        return image
    drawn = rng.random(image.shape)
    low, high = image[inside].min(), image.max()
    changed = np.where(drawn < ends, np.where(drawn < ends / 2, low, high), image)
    changed = changed + rng.normal(0, deviations * image[inside].std(), image.shape)
    return np.where(inside, changed, image)


def _written(item: tuple[Path, Path, Make | None], *, root: Path) -> None:
    """One file of one condition: the same one, or changed, with the type it had."""
    folder, source, make = item
    inside = source.relative_to(root) if root.is_dir() else Path(source.name)
    target = folder / inside
    if make is None:
        _copied(source, target, folder.with_name(FULL) / inside)
        return
    volume = read_volume(source)
    seed = zlib.crc32(f"{folder.name}/{inside.as_posix()}".encode())
    image = make(volume.array.astype(np.float32), np.random.default_rng(seed))
    if volume.array.dtype.kind in "iu":
        ends = np.iinfo(volume.array.dtype)
        image = np.clip(np.round(image), ends.min, ends.max)
    named = target.with_name(f"{layouts.stem(target)}.nii.gz")
    write_volume(named, image.astype(volume.array.dtype), volume.grid)


def _copied(source: Path, target: Path, first: Path) -> None:
    """A file once more; on the same blocks of the disk as its `first` copy, where that can be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if target != first:
        with suppress(OSError):
            target.hardlink_to(first)
            return
    shutil.copyfile(source, target)
