"""Do our metrics equal those of other packages, and which definition does each package use?

    python benchmarks/agreement.py --count 300

Pairs of masks are made by code: blobs, shifted copies, slivers and single voxels on anisotropic
grids, touching edges or not. Each package that is installed (MedPy, surface-distance, MONAI,
panoptica) and a plain reference of twenty lines measure each pair; for every metric of a package
the table says which of our spellings it equals, in what share of the pairs (to 2e-5, since MONAI
is single precision), and by how much it is off at most. Prints JSON and writes
results/agreement.json.
"""

import argparse
import json
import platform
import subprocess
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from scipy import ndimage

from oncoseg import build, files

HERE = Path(__file__).parent
OURS = (
    *("dice", "hd", "hd95", "hd95:pooled=true", "hd95:mesh=true", "nsd", "nsd:mesh=false"),
    *("assd", "assd:pooled=false", "assd:mesh=true", "assd:pooled=false,mesh=true"),
    *("panoptic_quality", "panoptic_quality:connectivity=6"),
)
CLOSE = 2e-5


def pairs(count):
    """Prediction, truth (*S) and spacing, of `count` kinds that take turns."""
    rng = np.random.default_rng(0)
    for number in range(count):
        shape = tuple(rng.integers(10, 28, 3))
        spacing = tuple(float(length) for length in rng.choice([0.5, 1.0, 1.7, 3.0], 3))
        fields = [
            ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(0.8, 2.5))
            for _ in range(2)
        ]
        truth, prediction = (field > np.quantile(field, rng.uniform(0.6, 0.97)) for field in fields)
        kind = number % 4
        if kind == 1:
            prediction = np.roll(truth, int(rng.integers(1, 4)), axis=int(rng.integers(3)))
        elif kind == 2:
            prediction = truth & (rng.random(shape) > 0.2)
        elif kind == 3:
            prediction = np.zeros(shape, bool)
            prediction[tuple(rng.integers(0, size) for size in shape)] = True
        if prediction.any() and truth.any():
            yield prediction, truth, spacing


def plain(prediction, truth, spacing):
    """The definitions, written out: distance transforms of the whole image."""
    shells = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    fields = [ndimage.distance_transform_edt(~shell, spacing) for shell in shells]
    there, back = fields[1][shells[0]], fields[0][shells[1]]
    every = np.concatenate([there, back])
    total = prediction.sum() + truth.sum()
    return {
        "dice": 2 * (prediction & truth).sum() / total,
        "hd": every.max(),
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": every.mean(),
    }


def medpy(prediction, truth, spacing):
    """MedPy."""
    from medpy.metric import binary  # noqa: PLC0415

    return {
        "dc": binary.dc(prediction, truth),
        "hd": binary.hd(prediction, truth, spacing),
        "hd95": binary.hd95(prediction, truth, spacing),
        "assd": binary.assd(prediction, truth, spacing),
    }


def surface_distance(prediction, truth, spacing):
    """DeepMind's surface-distance."""
    import surface_distance as package  # noqa: PLC0415

    found = package.compute_surface_distances(truth, prediction, spacing)
    return {
        "robust_hausdorff 95": package.compute_robust_hausdorff(found, 95),
        "average_surface_distance, mean": np.mean(package.compute_average_surface_distance(found)),
        "surface_dice 1 mm": package.compute_surface_dice_at_tolerance(found, 1.0),
    }


def monai(prediction, truth, spacing):
    """MONAI."""
    import torch  # noqa: PLC0415
    from monai import metrics  # noqa: PLC0415

    pair = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, truth)]
    said = {"spacing": spacing, "include_background": True}
    tight = {"use_subvoxels": True, **said}
    return {
        "dice": metrics.compute_dice(*pair),
        "hausdorff 95": metrics.compute_hausdorff_distance(*pair, percentile=95, **said),
        "average_surface_distance symmetric": metrics.compute_average_surface_distance(
            *pair, symmetric=True, **said
        ),
        "surface_dice 1 mm": metrics.compute_surface_dice(*pair, [1.0], **said),
        "surface_dice 1 mm, subvoxels": metrics.compute_surface_dice(*pair, [1.0], **tight),
    }


def panoptica(prediction, truth, spacing):
    """panoptica, of the whole region as one instance and of its components."""
    from panoptica import ConnectedComponentsInstanceApproximator as Components  # noqa: PLC0415
    from panoptica import InputType, Metric, NaiveThresholdMatching, Panoptica_Evaluator  # noqa: PLC0415

    kinds = [Metric.DSC, Metric.HD95, Metric.ASSD]
    whole = Panoptica_Evaluator(
        expected_input=InputType.MATCHED_INSTANCE, instance_metrics=kinds, global_metrics=kinds
    )
    parts = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=Components(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=0.5),
    )
    masks = [mask.astype(np.uint8) for mask in (prediction, truth)]
    found = {}
    for prefix, tool in (("", whole), ("components ", parts)):
        try:
            done = tool.evaluate(*masks, voxelspacing=spacing, verbose=False)
        except NotImplementedError:  # it has no value where nothing matches
            continue
        said = next(iter(done.values())).to_dict()
        wanted = ("pq",) if prefix else ("sq_hd95", "sq_assd", "global_bin_dsc", "global_bin_hd95")
        found |= {f"{prefix}{name}": said[name] for name in wanted if name in said}
    return found


PACKAGES = {
    "scipy": plain,
    "MedPy": medpy,
    "surface-distance": surface_distance,
    "monai": monai,
    "panoptica": panoptica,
}


def present():
    """Package -> its version, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def nearest(ours, said):
    """Which of our spellings a metric of a package (number of the pair -> value) equals."""
    known = [number for number, value in said.items() if np.isfinite(value)]
    values = np.array([said[number] for number in known])
    apart = {name: np.abs(values - np.array(own)[known]) for name, own in ours.items()}
    share = {name: float((away < CLOSE).mean()) for name, away in apart.items()}
    best = max(share, key=lambda name: (share[name], -float(apart[name].mean())))
    return {
        "nearest": best,
        "pairs": len(known),
        "equal": round(share[best], 4),
        "largest difference": round(float(apart[best].max()), 6),
    }


def main():
    """Measure every pair with every package and say what equals what."""
    words = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words.add_argument("--count", type=int, default=300)
    given = words.parse_args()
    warnings.simplefilter("ignore")
    tools, versions = {name: build("metrics", name) for name in OURS}, present()
    ours = {name: [] for name in OURS}
    theirs = {}
    for number, pair in enumerate(pairs(given.count)):
        for name, tool in tools.items():
            ours[name].append(tool(*pair))
        for package in versions:
            for name, value in PACKAGES[package](*pair).items():
                theirs.setdefault((package, name), {})[number] = float(np.asarray(value).squeeze())
    table = {f"{package}: {name}": nearest(ours, said) for (package, name), said in theirs.items()}
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, Python {platform.python_version()}"
    result = {"machine": machine, "commit": commit.stdout.strip(), "versions": versions}
    result |= {"pairs": len(ours["dice"]), "agreement": table}
    print(json.dumps(result, indent=2))
    files.write_json(HERE / "results" / "agreement.json", result)


if __name__ == "__main__":
    main()
