"""Skeletons against scikit-image's: topology, voxels apart, clDice, and time as a ratio.

    python benchmarks/skeletons.py --count 80

Needs scikit-image beside this package. Shapes are made by code: tubes, and noise with holes and
cavities, in 2-D and 3-D. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from oncoseg.blocks.skeleton import skeleton

SHAPES = ((96, 110), (48, 44, 40))


def tube(shape, generator):
    """A bent tube."""
    points = generator.uniform(0.15, 0.85, (4, len(shape))) * shape
    t = np.linspace(0, 1, 600)[:, None]
    weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
    outside = np.ones(shape, bool)
    outside[tuple(sum(w * p for w, p in zip(weights, points)).round().astype(int).T)] = False
    return ndimage.distance_transform_edt(outside) <= generator.uniform(1, 5)


def noise(shape, generator):
    """Blobs with holes and cavities."""
    field = ndimage.gaussian_filter(generator.standard_normal(shape), generator.uniform(1, 4))
    return field > np.quantile(field, generator.uniform(0.4, 0.85))


def topology(mask):
    """Components, those of the outside, Euler number."""
    dims = mask.ndim
    inside = ndimage.label(mask, np.ones((3,) * dims))[1]
    return inside, ndimage.label(~np.pad(mask, 1))[1], euler_number(mask, connectivity=dims)


def cl_dice(masks, thin):
    """Of two masks, by any skeleton."""
    skeletons = [thin(mask) for mask in masks]
    parts = [s[m].sum() / max(1, s.sum()) for s, m in zip(skeletons, masks[::-1])]
    return 2 * parts[0] * parts[1] / max(sum(parts), 1e-9)


def lee(mask):
    """scikit-image's."""
    return skeletonize(mask, method="lee") > 0


def main() -> None:
    """Compare `--count` shapes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=80)
    count = parser.parse_args().count
    kept = {"ours": 0, "scikit-image": 0}
    seconds = {"ours": 0.0, "scikit-image": 0.0}
    sizes, apart, values = [], [], []
    for number in range(count):
        generator = np.random.default_rng(number)
        shape = SHAPES[number % 2]
        mask = (tube, noise)[number // 2 % 2](shape, generator)
        found = {}
        for name, thin in (("ours", skeleton), ("scikit-image", lee)):
            began = time.perf_counter()
            found[name] = thin(mask)
            seconds[name] += time.perf_counter() - began
            kept[name] += topology(found[name]) == topology(mask)
        sizes.append(found["ours"].sum() / max(1, found["scikit-image"].sum()))
        apart.append(ndimage.distance_transform_edt(~found["scikit-image"])[found["ours"]].mean())
        moved = np.roll(mask, 1, axis=0) | (generator.random(shape) < 0.01)
        values.append([cl_dice((moved, mask), thin) for thin in (skeleton, lee)])
    differences = np.abs(np.diff(values, axis=1))
    print(
        json.dumps(
            {
                "shapes": count,
                "topology kept": kept,
                "voxels of ours to theirs, 5 %, median, 95 %": np.percentile(sizes, [5, 50, 95])
                .round(3)
                .tolist(),
                "mean voxels apart": round(float(np.mean(apart)), 3),
                "clDice apart, median, 95 %, most": np.percentile(differences, [50, 95, 100])
                .round(4)
                .tolist(),
                "seconds to theirs": round(seconds["ours"] / seconds["scikit-image"], 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
