"""What memory a large scan of many classes would take elsewhere: 117 classes on 512x512x1200.

    python benchmarks/speed/large.py --nnunet NNUNET_PYTHON --monai MONAI_PYTHON   # either or both

No machine at hand holds it, so each program predicts smaller scans of 0.8x0.8x1.25 mm with 117
classes at 1.5 mm, a process each, with a network that does next to nothing: what it holds at most,
beyond what it held before, grows with the number of voxels, and a line through three sizes gives
the large one. nnU-Net: its sliding window and its way back to the scan's grid. MONAI: its sliding
window inferer, then softmax, its resampling of every class and an argmax, as its bundles for whole
bodies list them. Ours for the large scan itself: `predicting.py --large`. Linux. Writes
results/large.json.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SIZES = ((192, 192, 80), (192, 192, 120), (192, 192, 160))
LARGE, CLASSES, PATCH = (512, 512, 1200), 117, 64
NATIVE, PLAN = (0.8, 0.8, 1.25), 1.5


def peak():
    """MB that this process has had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if "VmHWM" in line)


def working(size):
    """The shape on the grid of the plan."""
    return tuple(round(n * s / PLAN) for n, s in zip(size, NATIVE))


def network():
    """One convolution."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    return torch.nn.Conv3d(1, CLASSES, 1).eval()


def nnunet(size):
    """Windows and the way back of nnUNetPredictor; axes (z, y, x)."""
    import torch  # noqa: PLC0415
    from nnunetv2.inference import export_prediction  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    back = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    plan = {
        "spacing": [PLAN] * 3,
        "patch_size": [PATCH] * 3,
        "architecture": {},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": back,
    }
    order = {"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}
    manager = PlansManager(
        {
            "plans_name": "p",
            "label_manager": "LabelManager",
            "configurations": {"3d": plan},
            **order,
        }
    )
    said = {"labels": {"background": 0, **{f"organ_{n}": n for n in range(1, CLASSES)}}}
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    configuration = manager.get_configuration("3d")
    given = manager, configuration, None, said, "nnUNetTrainer", None
    predictor.manual_initialization(network(), *given)
    target = size[::-1]
    image = torch.zeros((1, *working(size)[::-1]))
    before = peak()
    logits = predictor.predict_sliding_window_return_logits(image)
    found = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        manager,
        configuration,
        predictor.label_manager,
        {
            "spacing": list(NATIVE[::-1]),
            "shape_after_cropping_and_before_resampling": target,
            "shape_before_cropping": target,
            "bbox_used_for_cropping": [[0, length] for length in target],
        },
        num_threads_torch=1,
    )
    return before, found.shape == target


def monai(size):
    """The inferer and the way back of MONAI; axes (x, y, z)."""
    import torch  # noqa: PLC0415
    from monai.data import MetaTensor  # noqa: PLC0415
    from monai.inferers import sliding_window_inference  # noqa: PLC0415
    from monai.transforms import SpatialResample  # noqa: PLC0415

    image, run = torch.zeros((1, 1, *working(size))), network()
    before = peak()
    with torch.inference_mode():
        logits = sliding_window_inference(image, (PATCH,) * 3, 1, run, 0.5, "gaussian")[0]
        share = MetaTensor(logits.softmax(0), affine=np.diag([PLAN] * 3 + [1.0]))
        del logits
        back = SpatialResample(mode="bilinear", padding_mode="border")
        found = back(share, dst_affine=np.diag([*NATIVE, 1.0]), spatial_size=size).argmax(0)
    return before, tuple(found.shape) == tuple(size)


WAYS = {"nnunet": nnunet, "monai": monai}


def main():
    """Three sizes each, and the line through them."""
    if sys.argv[1:2] == ["--child"]:
        before, whole = WAYS[sys.argv[2]](tuple(map(int, sys.argv[3].split("x"))))
        print(json.dumps({"mb": round(peak() - before), "whole": whole}))
        return
    parser = argparse.ArgumentParser()
    for way in WAYS:
        parser.add_argument(f"--{way}", default="")
    asked, to = parser.parse_args(), HERE / "results" / "large.json"
    rows = json.loads(to.read_text(encoding="utf-8"))["ways"] if to.exists() else {}
    for way, python in vars(asked).items():
        taken = []
        for size in SIZES if python else ():
            words = [python, __file__, "--child", way, "x".join(map(str, size))]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr)
            row = json.loads(done.stdout.splitlines()[-1])
            assert row["whole"], f"{way} gave another shape"
            taken.append((math.prod(size), row["mb"]))
        if taken:
            slope, start = np.polyfit(*zip(*taken), 1)
            whole = start + slope * math.prod(LARGE)
            rows[way] = {
                "mb": dict(zip(("x".join(map(str, size)) for size in SIZES), dict(taken).values())),
                "bytes a voxel and class": round(float(slope) * 1e6 / CLASSES, 1),
                "512x512x1200, GB": round(float(whole) / 1000, 1),
            }
            print(way, rows[way], flush=True)
    to.write_text(json.dumps({"classes": CLASSES, "ways": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
