"""Augmented patches a second, beside batchgeneratorsv2, TorchIO and MONAI, on one list of changes.

    python benchmarks/speed/augmenting.py            # peers take part where they are installed
    python benchmarks/speed/augmenting.py --quick    # small patches, to see that it works

The list: rotation by 25 degrees and scaling by 1.3 about every axis (probability 0.5), mirroring
left to right (0.5); of every channel noise (0.15), blur (0.15), brightness (0.3), contrast (0.3),
fewer voxels (0.15) and gamma (0.3). Ours draws a bias field (0.2) besides and moves memberships of
four classes, presence and weights where the others move one label map. TorchIO and MONAI draw for
all channels at once, so that their probabilities are alike in the mean. Each way runs in a process
of its own on one thread and takes its turn; printed are medians of the processor's time, since a
machine may be busy, and ratios to ours in each turn.
Writes results/augmenting.json.
"""

import importlib.util
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
TURNS = 3
COUNT = 20
WIDER = 1.15
DEGREES, SCALE = 25.0, 1.3


def scan(size):
    """A patch with its margin: image (4, *S) and label (1, *S)."""
    rng = np.random.default_rng(0)
    shape = (math.ceil(size * WIDER),) * 3
    axes = np.meshgrid(*[np.linspace(-1, 1, length) for length in shape], indexing="ij")
    away = np.sqrt(sum(axis**2 for axis in axes))
    label = sum((away < edge).astype(np.int16) for edge in (0.6, 0.4, 0.2))
    image = rng.standard_normal((4, *shape)).astype(np.float32) + label
    return torch.from_numpy(image), torch.from_numpy(label[None])


def oncoseg(size):
    """`spatial` without bending, and `intensity`."""
    from oncoseg import registry  # noqa: PLC0415
    from oncoseg.case import Batch, Prompts, Task  # noqa: PLC0415

    names, labels = ("t1", "t1ce", "t2", "flair"), {"a": 1, "b": 2, "c": 3}
    regions = {name: (name,) for name in labels}
    task = Task("t", names, labels, regions, (1.0,) * 3, (size,) * 3, ((2, 2, 2),) * 4)
    spelled = f"spatial:elastic=0,degrees={DEGREES:g},scale={SCALE}"
    parts = [registry.build("augmentations", name, task) for name in (spelled, "intensity")]
    image, label = scan(size)
    batch = Batch(
        image=image[None],
        present=torch.ones_like(image[None], dtype=torch.bool),
        label=torch.stack([(label[0] == value).float() for value in range(4)])[None],
        weight=torch.ones(1, 1, *image.shape[1:]),
        labeled=torch.ones(1, dtype=torch.bool),
        annotated=torch.ones(1, 4, dtype=torch.bool),
        domain=torch.zeros(1, dtype=torch.long),
        prompts=Prompts.none(image[None]),
    )

    def once():
        moved = batch
        for part in parts:
            moved = part(moved)
        return moved.image[0]

    return once


def batchgeneratorsv2(size):
    """As nnU-Net builds its list."""
    from batchgeneratorsv2.transforms.intensity import (  # noqa: PLC0415
        brightness,
        contrast,
        gamma,
        gaussian_noise,
    )
    from batchgeneratorsv2.transforms.noise import gaussian_blur  # noqa: PLC0415
    from batchgeneratorsv2.transforms.spatial import (  # noqa: PLC0415
        low_resolution,
        mirroring,
        spatial,
    )
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms  # noqa: PLC0415

    turn = (-math.radians(DEGREES), math.radians(DEGREES))
    apart = {"synchronize_channels": False}
    todo = ComposeTransforms(
        [
            spatial.SpatialTransform(
                (size,) * 3,
                patch_center_dist_from_border=0,
                random_crop=False,
                p_rotation=0.5,
                rotation=turn,
                p_scaling=0.5,
                scaling=(1 / SCALE, SCALE),
                p_synchronize_scaling_across_axes=1,
            ),
            gaussian_noise.GaussianNoiseTransform((0, 0.09), p_per_channel=0.15, **apart),
            gaussian_blur.GaussianBlurTransform((0.5, 1.2), p_per_channel=0.15, **apart),
            brightness.BrightnessAdditiveTransform(mu=0.0, sigma=0.17, p_per_channel=0.3, **apart),
            contrast.ContrastTransform(
                (0.7, 1.4), preserve_range=False, p_per_channel=0.3, **apart
            ),
            low_resolution.SimulateLowResolutionTransform(
                (1 / 3, 1), synchronize_axes=False, ignore_axes=(1, 2), p_per_channel=0.15, **apart
            ),
            gamma.GammaTransform(
                (0.7, 1.5), p_invert_image=0.5, p_per_channel=0.3, p_retain_stats=0, **apart
            ),
            mirroring.MirrorTransform((0,)),
        ]
    )
    image, label = scan(size)
    return lambda: todo(image=image, segmentation=label)["image"]


def torchio(size):
    """Cropped first, since its rotation gives what it is given."""
    import torchio as tio  # noqa: PLC0415

    image, label = scan(size)
    start = (image.shape[1] - size) // 2
    inner = (slice(None), *(slice(start, start + size),) * 3)
    todo = tio.Compose(
        [
            tio.RandomAffine(scales=(1 / SCALE, SCALE), degrees=DEGREES, isotropic=True, p=0.5),
            tio.RandomNoise(std=(0, 0.3), p=0.15),
            tio.RandomBlur(std=(0.5, 1.2), p=0.15),
            tio.Lambda(lambda x: x + (torch.rand(()) - 0.5) * 0.6, [tio.INTENSITY], p=0.3),
            tio.Lambda(lambda x: x * (0.7 + 0.7 * torch.rand(())), [tio.INTENSITY], p=0.3),
            tio.RandomAnisotropy(axes=(0,), downsampling=(1, 3), p=0.15),
            tio.RandomGamma(log_gamma=(-0.35, 0.4), p=0.3),
            tio.RandomFlip(axes=(0,), flip_probability=0.5),
        ]
    )
    subject = tio.Subject(
        image=tio.ScalarImage(tensor=image[inner]), seg=tio.LabelMap(tensor=label[inner])
    )
    return lambda: todo(subject)["image"].data


def monai(size):
    """Dictionary transforms, sampled straight onto the patch."""
    from monai import transforms as told  # noqa: PLC0415

    turn = (math.radians(DEGREES),) * 3
    both = ["image", "label"]
    todo = told.Compose(
        [
            told.RandAffined(
                both,
                prob=0.5,
                rotate_range=turn,
                scale_range=((1 / SCALE - 1, SCALE - 1),) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
                spatial_size=(size,) * 3,
            ),
            told.RandGaussianNoised("image", prob=0.15, std=0.3),
            told.RandGaussianSmoothd("image", (0.5, 1.2), (0.5, 1.2), (0.5, 1.2), prob=0.15),
            told.RandShiftIntensityd("image", offsets=0.3, prob=0.3),
            told.RandScaleIntensityd("image", factors=(-0.3, 0.4), prob=0.3),
            told.RandSimulateLowResolutiond("image", prob=0.15, zoom_range=(1 / 3, 1.0)),
            told.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            told.RandFlipd(both, prob=0.5, spatial_axis=0),
        ]
    )
    image, label = scan(size)
    given = {"image": image, "label": label.float()}
    return lambda: todo(dict(given))["image"]


WAYS = {each.__name__: each for each in (oncoseg, batchgeneratorsv2, torchio, monai)}


def patches(way, size, count):
    """Processor's milliseconds for a patch, and the shape that came out."""
    torch.set_num_threads(1)
    once = WAYS[way](size)
    shape = tuple(once().shape)
    np.random.seed(0)  # what the others draw from
    torch.manual_seed(0)
    began = time.process_time()
    for _ in range(count):
        once()
    return {"ms": 1000 * (time.process_time() - began) / count, "shape": shape}


def child(way, size, count):
    """What `patches` returns, in a process of its own."""
    words = [sys.executable, __file__, "--child", json.dumps([way, size, count])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure, print, write."""
    if "--child" in sys.argv:
        print(json.dumps(patches(*json.loads(sys.argv[-1]))))
        return
    quick = "--quick" in sys.argv
    size, count, turns = (32, 4, 1) if quick else (128, COUNT, TURNS)
    there = [way for way in WAYS if importlib.util.find_spec(way)]
    found = [{way: child(way, size, count) for way in there} for _ in range(turns)]
    rows = {}
    for way in there:
        ratios = sorted(turn[way]["ms"] / turn["oncoseg"]["ms"] for turn in found)
        median = statistics.median(turn[way]["ms"] for turn in found)
        rows[way] = {
            "ms_a_patch": round(median, 1),
            "patches_a_second": round(1000 / median, 2),
            "times_ours": round(statistics.median(ratios), 2),
            "spread": [round(ratios[0], 2), round(ratios[-1], 2)],
            "shape": found[0][way]["shape"],
        }
        print(way, rows[way], flush=True)
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, torch {torch.__version__}, 1 thread"
    result = {"machine": machine, "commit": commit.stdout.strip(), "patch": size, "ways": rows}
    if not quick:
        to = HERE / "results" / "augmenting.json"
        to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
