"""Time to measure HD95, NSD and ASSD, beside a plain reference and surface-distance.

    python benchmarks/speed/surfaces.py

Two sets made by code: one mask at 240x240x155 mm, and ten organs at 512x512x300 voxels of
0.8x0.8x1.25 mm, each with a truth and a prediction with another edge. Tools (surface-distance where
it is there) take turns on the same label maps, each on the cores that it uses by itself; values
that ought to be equal are compared. Prints medians of wall time, ratios and the largest memory of
the process; writes results/surfaces.json.
"""

import json
import platform
import resource
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from oncoseg import files
from oncoseg.case import Task
from oncoseg.evaluate import evaluate

try:
    import surface_distance
except ImportError:
    surface_distance = None

HERE = Path(__file__).parent
TURNS = 5
METRICS = ("hd95", "nsd", "assd")


def waves(shape, rng, size):
    """A smooth random field (*shape) of about 1, without a filter over all of it."""
    coarse = rng.standard_normal([-(-length // size) + 2 for length in shape]).astype(np.float32)
    factors = [length / (small - 1) for length, small in zip(shape, coarse.shape)]
    grids = [np.arange(length) / factor for length, factor in zip(shape, factors)]
    for axis, places in enumerate(grids):
        low = np.clip(places.astype(int), 0, coarse.shape[axis] - 2)
        part = (places - low).astype(np.float32)
        part = part.reshape([-1 if each == axis else 1 for each in range(3)])
        first, second = np.take(coarse, low, axis), np.take(coarse, low + 1, axis)
        coarse = first * (1 - part) + second * part
    return coarse


def pair(shape, spacing, organs):
    """Truth and prediction (*shape) uint8 of ellipsoids with uneven edges."""
    rng = np.random.default_rng(0)
    size = np.array(shape) * spacing
    truth, prediction = np.zeros((2, *shape), np.uint8)
    for value, (centre, radii) in enumerate(organs, start=1):
        middle, reach = np.array(centre) * size, np.array(radii) * 1.5
        box = tuple(
            slice(max(0, int((m - r) / s)), min(n, int((m + r) / s) + 1))
            for m, r, s, n in zip(middle, reach, spacing, shape)
        )
        axes = [np.arange(b.start, b.stop) * s for b, s in zip(box, spacing)]
        parts = [((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radii)]
        field = np.sqrt(parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None])
        inner = field.shape
        field = field.astype(np.float32) + 0.08 * waves(inner, rng, 12)
        truth[box][field < 1] = value
        prediction[box][field + 0.07 * waves(inner, rng, 9) + 0.02 < 1] = value
    return prediction, truth


ORGANS = (
    *(((0.35, 0.45, 0.6), (80, 60, 65)), ((0.68, 0.5, 0.62), (40, 30, 45))),
    *(((0.38, 0.62, 0.4), (25, 28, 50)), ((0.63, 0.62, 0.4), (25, 28, 50))),
    *(((0.5, 0.48, 0.45), (50, 14, 14)), ((0.52, 0.6, 0.5), (10, 10, 170))),
    *(((0.6, 0.4, 0.55), (40, 28, 32)), ((0.5, 0.42, 0.08), (35, 30, 28))),
    *(((0.42, 0.46, 0.5), (12, 12, 16)), ((0.5, 0.72, 0.5), (22, 20, 185))),
)
SETS = {
    "one mask, 240x240x155": ((240, 240, 155), (1.0, 1.0, 1.0), [((0.5, 0.5, 0.5), (32, 28, 26))]),
    "ten organs, 512x512x300": ((512, 512, 300), (0.8, 0.8, 1.25), ORGANS),
}


def ours(prediction, truth, spacing, count):
    """Region -> metric -> value."""
    labels = {f"organ_{value}": value for value in range(1, count + 1)}
    grid = {"spacing": spacing, "patch": (8, 8, 8), "strides": ((2, 2, 2),)}
    task = Task("organs", ("ct",), labels, {name: (name,) for name in labels}, **grid)
    return evaluate(prediction, truth, spacing=spacing, metrics=METRICS, regions=task).means


def plain(prediction, truth, spacing, count):
    """The same by distance transforms of each organ's box: twenty lines."""
    found = {}
    boxes = [ndimage.find_objects(label, max_label=count) for label in (prediction, truth)]
    for value in range(1, count + 1):
        edges = zip(*(lying[value - 1] for lying in boxes), prediction.shape)
        box = tuple(
            slice(max(0, min(a.start, b.start) - 1), min(n, max(a.stop, b.stop) + 1))
            for a, b, n in edges
        )
        masks = [label[box] == value for label in (prediction, truth)]
        shells = [mask & ~ndimage.binary_erosion(mask) for mask in masks]
        fields = [ndimage.distance_transform_edt(~shell, spacing) for shell in shells]
        there, back = fields[1][shells[0]], fields[0][shells[1]]
        found[f"organ_{value}"] = {
            "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
            "assd": np.concatenate([there, back]).mean(),
        }
    return found


def deepmind(prediction, truth, spacing, count):
    """surface-distance, all three of its own definitions."""
    found = {}
    for value in range(1, count + 1):
        apart = surface_distance.compute_surface_distances(
            truth == value, prediction == value, spacing
        )
        surface_distance.compute_robust_hausdorff(apart, 95)
        surface_distance.compute_average_surface_distance(apart)
        agreed = surface_distance.compute_surface_dice_at_tolerance(apart, 1.0)
        found[f"organ_{value}"] = {"nsd": agreed}
    return found


def main():
    """Time every tool on both sets."""
    tools = {"oncoseg": ours, "plain scipy": plain}
    if surface_distance:
        tools["surface-distance"] = deepmind
    result = {"machine": f"{platform.machine()} {platform.system()}", "sets": {}}
    for name, (shape, spacing, organs) in SETS.items():
        given = (*pair(shape, spacing, organs), spacing, len(organs))
        times = {tool: [] for tool in tools}
        for _ in range(TURNS):
            values = {}
            for tool, measure in tools.items():
                began = time.perf_counter()
                values[tool] = measure(*given)
                times[tool].append(time.perf_counter() - began)
        for tool, regions in values.items():
            for region, metrics in regions.items():
                for metric, value in metrics.items():
                    assert abs(value - values["oncoseg"][region][metric]) < 1e-5, (tool, region)
        median = {tool: statistics.median(each) for tool, each in times.items()}
        result["sets"][name] = {
            tool: {"seconds": round(one, 4), "of ours": round(one / median["oncoseg"], 2)}
            for tool, one in median.items()
        }
        print(name, result["sets"][name])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    result |= {"commit": commit.stdout.strip(), "peak_mb": peak}
    print(json.dumps(result))
    files.write_json(HERE / "results" / "surfaces.json", result)


if __name__ == "__main__":
    main()
