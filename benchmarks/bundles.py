"""An imported MONAI Bundle beside MONAI's own pipeline, on one CT scan.

    python benchmarks/bundles.py CT.nii.gz [--steps 60]

Makes a bundle whose DynUNet, plain and then residual, is trained for so many steps to tell air,
tissue and bone in this scan, imports it, and prints as JSON the largest differences: of the
prepared scan, of the logits of one window, of probabilities where one window holds all that there
is, of probabilities on the network's grid with the windows of either, and on the scan's own grid,
with the share of voxels with one label. Needs MONAI beside the `train` extra; without it there is
nothing to print.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PATCH = [64, 64, 64]
NETWORK = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "kernel_size": [3, 3, 3, 3],
    "strides": [1, 2, 2, 2],
    "upsample_kernel_size": [2, 2, 2],
    "filters": [8, 16, 32, 32],
    "norm_name": "instance",
}
RANGE = {"a_min": -250, "a_max": 400, "b_min": 0.0, "b_max": 1.0, "clip": True}


def step(name: str, **options: Any) -> dict[str, Any]:
    """A transform of the one image there is."""
    return {"_target_": name, "keys": "image", **options}


def config(*, residual: bool) -> dict[str, Any]:
    """What a bundle for CT says of inference."""
    before = [
        step("LoadImaged", reader="NibabelReader"),
        step("EnsureChannelFirstd"),
        step("Orientationd", axcodes="LPS"),
        step("Spacingd", pixdim=[2.5, 2.5, 3.5], mode="bilinear"),
        step("ScaleIntensityRanged", **RANGE),
    ]
    after = [step("Activationsd", softmax=True), step("AsDiscreted", argmax=True)]
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": PATCH, "overlap": 0.5}
    return {
        "network_def": {"_target_": "DynUNet", **NETWORK, "res_block": residual},
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "inferer": {**inferer, "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": after},
    }


def trained(image: Any, steps: int, *, residual: bool) -> Any:
    """A DynUNet that has seen this prepared scan (1, *S): air below -200 HU, bone above 200."""
    import torch  # noqa: PLC0415
    from monai.networks.nets import DynUNet  # noqa: PLC0415

    torch.manual_seed(0)
    network = DynUNet(**NETWORK, res_block=residual)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    label = (image[0] > 50 / 650).long() + (image[0] > 450 / 650).long()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        corner = [int(rng.integers(0, max(1, size - 32 + 1))) for size in label.shape]
        box = tuple(slice(first, first + 32) for first in corner)
        logits = network(image[(slice(None), *box)][None])
        loss = torch.nn.functional.cross_entropy(logits, label[box][None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(requires_grad=False)


def compared(scan: Path, steps: int, *, residual: bool) -> dict[str, float]:
    """Largest differences of one network."""
    import torch  # noqa: PLC0415
    from monai.bundle import ConfigParser  # noqa: PLC0415
    from monai.transforms import Invertd  # noqa: PLC0415

    from oncoseg.case import Case  # noqa: PLC0415
    from oncoseg.foreign.monai import convert  # noqa: PLC0415
    from oncoseg.model import open_model  # noqa: PLC0415
    from oncoseg.predict import Predictor  # noqa: PLC0415
    from oncoseg.predict.window import slide  # noqa: PLC0415
    from oncoseg.prepare.align import align  # noqa: PLC0415
    from oncoseg.read import read_volume  # noqa: PLC0415

    said = config(residual=residual)
    parser = ConfigParser(said)
    before = parser.get_parsed_content("preprocessing")
    inferer = parser.get_parsed_content("inferer")
    data = before({"image": str(scan)})
    image = data["image"].as_tensor().float()
    network = trained(image, steps, residual=residual)
    outputs = {"pred": {"channel_def": {"0": "background", "1": "tissue", "2": "bone"}}}
    inputs = {"image": {"modality": "CT", "channel_def": {"0": "image"}}}
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        for part in ("configs", "models"):
            (folder / part).mkdir()
        (folder / "configs" / "inference.json").write_text(json.dumps(said))
        about = {"network_data_format": {"inputs": inputs, "outputs": outputs}}
        (folder / "configs" / "metadata.json").write_text(json.dumps(about))
        torch.save(network.state_dict(), folder / "models" / "model.pt")
        model = convert(folder, folder / "m.onco")
        opened = open_model(model)
        case = Case("case", "case", {"ct": read_volume(scan)})
        ours = align(case, opened.plan)
        found = Predictor(model, engine="torch", probabilities=True)
        infer = found.infer
        corner = tuple(slice(0, size) for size in PATCH)
        window, there = (each[(slice(None), *corner)] for each in (ours.image, ours.present))
        own_window = infer(window[None], there[None])
        their_window = network(torch.as_tensor(window)[None]).numpy()
        alone = slide(infer, window[:, :50], there[:, :50], PATCH)
        blended = slide(infer, ours.image, ours.present, PATCH)
        theirs = inferer(image[None], network)[0]
        shares = torch.softmax(theirs, 0)
        data["pred"] = data["image"].clone()
        data["pred"].set_array(shares)
        back = Invertd("pred", before, orig_keys="image", nearest_interp=False)(data)["pred"]
        prediction = found(case)
    single = torch.softmax(inferer(torch.as_tensor(window[:, :50])[None], network)[0], 0)
    task = opened.task
    label = back.as_tensor().argmax(0).numpy()
    own = task.probabilities(blended)
    return {
        "prepared": float(np.abs(ours.image - image.numpy()).max()),
        "window_logits": float(np.abs(own_window - their_window).max()),
        "one_window": float(np.abs(task.probabilities(alone) - single[1:].numpy()).max()),
        "working_largest": float(np.abs(own - shares[1:].numpy()).max()),
        "working_mean": float(np.abs(own - shares[1:].numpy()).mean()),
        "native_mean": float(np.abs(prediction.probability - back.as_tensor()[1:].numpy()).mean()),
        "same_label": float((prediction.label == label).mean()),
        "dice": [_dice(prediction.label == value, label == value) for value in (1, 2)],
    }


def _dice(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def main() -> None:
    """Print both networks' differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=60)
    words = parser.parse_args()
    if words.scan is None or importlib.util.find_spec("monai") is None:
        sys.stdout.write("needs a scan, and MONAI to compare with\n")
        return
    kinds = {"plain": False, "residual": True}
    found = {name: compared(words.scan, words.steps, residual=kind) for name, kind in kinds.items()}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
