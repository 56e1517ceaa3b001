"""A whole case beside nnU-Net: the same network and weights, 240 x 240 x 155 x 4 voxels.

    NNUNET_PYTHON benchmarks/speed/nnunet.py FOLDER MODEL.onco CASE_0000.nii.gz ... [--mirror]

FOLDER is a trained model of nnU-Net v2 and MODEL what `oncoseg import nnunet` made of it; the
interpreter needs both packages. Every way runs in a process of its own, on preprocessed scans that
lie in memory, with the same number of threads: nnUNetPredictor without mirroring, with it if asked
(it takes eight times as long), and ours on each engine. Printed as JSON: seconds, peak memory (MB,
Linux), ratios to the predictor, and the share of voxels with the same label. Without arguments, or
without nnU-Net, there is nothing to print.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("nnunet", "openvino", "onnxruntime", "torch")


def peak() -> float:
    """MB that this process has had at most."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), float("nan"))


def theirs(folder: Path, scans: list[str], *, mirror: bool) -> tuple[Any, float]:
    """Label map of nnUNetPredictor (z, y, x), and seconds of its windows and way back."""
    import torch  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), None)
    image, properties = predictor.plans_manager.image_reader_writer_class().read_images(scans)
    began = time.perf_counter()
    label = predictor.predict_single_npy_array(image, properties)
    return np.asarray(label), time.perf_counter() - began


def ours(model: Path, scans: list[str], engine: str) -> tuple[Any, float]:
    """The same of ours, cut and normalised within the time as theirs is."""
    from oncoseg.case import Case  # noqa: PLC0415
    from oncoseg.model import open_model  # noqa: PLC0415
    from oncoseg.predict import segment  # noqa: PLC0415
    from oncoseg.predict.engines import engine as make  # noqa: PLC0415
    from oncoseg.read import read_volume  # noqa: PLC0415

    opened = open_model(model)
    images = {name: read_volume(Path(path)) for name, path in zip(opened.task.modalities, scans)}
    infer = make(opened, engine)
    began = time.perf_counter()
    found = segment(Case("case", "case", images), opened.plan, infer)
    return found.label.transpose(2, 1, 0), time.perf_counter() - began


def one(way: str, folder: Path, model: Path, scans: list[str], target: str) -> None:
    """Run one way; its label map goes to a file, its figures to the output."""
    if way.startswith("nnunet"):
        label, seconds = theirs(folder, scans, mirror=way.endswith("mirror"))
    else:
        label, seconds = ours(model, scans, way)
    np.save(target, label.astype(np.uint8))
    print(json.dumps({"seconds": round(seconds, 2), "peak": round(peak())}))


def main(words: list[str]) -> None:
    """Every way in turn, and ratios."""
    mirror = "--mirror" in words
    folder, model, *scans = (word for word in words if word != "--mirror")
    rows: dict[str, dict[str, Any]] = {}
    first: Any = None
    for way in (*WAYS[:1], *(["nnunet mirror"] if mirror else []), *WAYS[1:]):
        target = str(Path(model).with_suffix(f".{way.replace(' ', '_')}.npy"))
        command = [sys.executable, __file__, "--one", way, folder, model, *scans, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            rows[way] = {"error": done.stderr.strip().splitlines()[-1][:200]}
            continue
        rows[way] = json.loads(done.stdout.strip().splitlines()[-1])
        label = np.load(target)
        Path(target).unlink()
        first = label if first is None else first
        rows[way]["same labels"] = round(float((label == first).mean()), 6)
        rows[way]["times faster"] = round(rows["nnunet"]["seconds"] / rows[way]["seconds"], 2)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _, _, way, folder, model, *rest = sys.argv
        one(way, Path(folder), Path(model), rest[:-1], rest[-1])
    elif len(sys.argv) > 3 and importlib.util.find_spec("nnunetv2"):
        main(sys.argv[1:])
