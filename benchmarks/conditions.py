"""Damaged copies of scans, for `oncoseg compare --protocol mmss_robustness`.

    python benchmarks/conditions.py ../shared/data/brats2021 --to conditions
    for each in conditions/*; do oncoseg predict glioma $each --to whole/$(basename $each); done
    oncoseg compare whole/ quick/ --reference ../shared/data/brats2021 --protocol mmss_robustness

Writes a folder a condition, to be predicted by any algorithm into a folder of the same name:
`full`; `missing-A+B`, without these modalities, for every set but all of them; `random25-A+B`, in
which a quarter of their voxels (--rates) read nothing, the image's lowest value; `noise-low`,
`noise-middle` and `noise-high`, all modalities with 5, 10 and 20 % of voxels at the image's ends
and then Gaussian noise of 0.1, 0.2 and 0.5 deviations. Noise is within the voxels above the lowest
value alone, since what was stripped of a head stays stripped; deviations are theirs. Copies of one
file share it where the disk can.
"""

import argparse
import shutil
import zlib
from itertools import combinations
from pathlib import Path

import numpy as np

from oncoseg.read import find, read_volume
from oncoseg.write import write_volume

LEVELS = {"low": (0.05, 0.1), "middle": (0.1, 0.2), "high": (0.2, 0.5)}


def emptied(image, share, rng):
    """An image of which a share of the voxels reads nothing."""
    return np.where(rng.random(image.shape) < share, image.min(), image)


def noisy(image, ends, deviations, rng):
    """Salt and pepper, then Gaussian noise, within what is above the lowest value."""
    inside = image > image.min()
    drawn = rng.random(image.shape)
    low, high = image[inside].min(), image.max()
    changed = np.where(drawn < ends, np.where(drawn < ends / 2, low, high), image)
    changed = changed + rng.normal(0, deviations * image[inside].std(), image.shape)
    return np.where(inside, changed, image)


def written(source, path, make, name):
    """The image at `source`, changed by `make(image, rng)`, with the type it had.

    `name` seeds it, so that every run writes the same.
    """
    volume = read_volume(source)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    image = make(volume.array.astype(np.float32), rng)
    if volume.array.dtype.kind in "iu":
        ends = np.iinfo(volume.array.dtype)
        image = np.clip(np.round(image), ends.min, ends.max)
    write_volume(path, image.astype(volume.array.dtype), volume.grid)


def shared(source, path):
    """The same file in another place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, path)


def conditions(modalities, rates):
    """Name -> modality -> nothing to do (None), or what changes it; without those left out."""
    found = {"full": dict.fromkeys(modalities)}
    for count in range(1, len(modalities)):
        for chosen in combinations(modalities, count):
            words = "+".join(chosen)
            found[f"missing-{words}"] = {n: None for n in modalities if n not in chosen}
            for rate in rates:
                make = lambda image, rng, share=rate / 100: emptied(image, share, rng)  # noqa: E731
                changes = {name: make if name in chosen else None for name in modalities}
                found[f"random{rate:g}-{words}"] = changes
    for level, (ends, deviations) in LEVELS.items():
        make = lambda image, rng, a=ends, b=deviations: noisy(image, a, b, rng)  # noqa: E731
        found[f"noise-{level}"] = dict.fromkeys(modalities, make)
    return found


def main():
    """Write every condition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="in any layout, a file a modality")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="*", default=[25], help="percent, of random")
    words = parser.parse_args()
    root = words.data.resolve()
    sources = find(root).sources
    modalities = list(dict.fromkeys(name for source in sources for name in source.images))
    for name, changes in conditions(modalities, words.rates).items():
        for source in sources:
            for modality, path in source.images.items():
                inside = path.resolve().relative_to(root)
                target = words.to / name / inside
                make = changes.get(modality)
                if modality in changes and make is None:
                    shared(path, target)
                elif make is not None:
                    target = target.with_name(f"{target.name.split('.')[0]}.nii.gz")
                    written(path, target, make, f"{name}/{inside.as_posix()}")


if __name__ == "__main__":
    main()
