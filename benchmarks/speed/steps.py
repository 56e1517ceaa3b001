"""A step of training nnU-Net's 3-D network, beside nnU-Net's own: seconds, memory and losses.

    python benchmarks/speed/steps.py                  # float32, bfloat16, torch's norm
    python benchmarks/speed/steps.py NNUNET_PYTHON    # nnU-Net's network as it trains, beside it

Two patches of 4 x 64 x 128 x 128 voxels, six stages of 32 to 320 channels, Dice and cross-entropy,
forth, back, clip and update; a process each, all cores, a first step and then two that count.
`torch's norm` is bfloat16 with instance norm and leaky ReLU one by one, as torch has them. Losses:
ten steps on eight small patches of smooth noise and what lies above it, from the same weights,
in each arithmetic; how far apart they are at most, and where each ends. Writes results/steps.json.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
LARGE, SMALL = (64, 128, 128), (32, 64, 64)
STRIDES = ((2, 2, 2),) * 4 + ((1, 2, 2),)
WAYS = ("float32", "torch's norm", "bfloat16")
TURNS, STEPS = 2, 10


def peak():
    """MB that this process has had at most (Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((round(int(line.split()[1]) / 1000) for line in lines if "VmHWM" in line), 0)


def parts(way, size):
    """Network, and loss of its answer; of nnU-Net if that is asked for."""
    if way == "nnU-Net":
        from dynamic_network_architectures.architectures.unet import PlainConvUNet  # noqa: PLC0415
        from nnunetv2.training.loss.compound_losses import DC_and_CE_loss  # noqa: PLC0415
        from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss  # noqa: PLC0415

        strides = [1, *map(list, STRIDES)]
        widths = [32, 64, 128, 256, 320, 320]
        kinds = {"norm_op": torch.nn.InstanceNorm3d, "nonlin": torch.nn.LeakyReLU}
        given = {"norm_op_kwargs": {"affine": True}, "nonlin_kwargs": {"inplace": True}}
        network = PlainConvUNet(
            4, 6, widths, torch.nn.Conv3d, 3, strides, 2, 4, 2, conv_bias=True, **kinds, **given
        )
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
        loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
        return network, lambda image, label: loss(network(image), label)
    from oncoseg import registry  # noqa: PLC0415
    from oncoseg.blocks.norm import NormAct  # noqa: PLC0415
    from oncoseg.case import Task  # noqa: PLC0415
    from oncoseg.predict.engines import bare_batch  # noqa: PLC0415

    names = {f"region_{value}": value for value in (1, 2, 3)}
    task = Task("t", tuple("abcd"), names, {n: (n,) for n in names}, (1.0,) * 3, size, STRIDES)
    network = registry.build("networks", "nnunet", task).to(memory_format=torch.channels_last_3d)
    if way == "torch's norm":
        NormAct._kept = lambda self, features: False  # what there was before
    loss, half = registry.build("losses", "dice_ce", exclusive=True), way != "float32"

    def judged(image, label):
        target = torch.nn.functional.one_hot(label[:, 0].long(), 4).movedim(-1, 1).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = network(bare_batch(image, torch.ones_like(image)))[0]
        return loss(found, target, torch.ones_like(target[:, :1]))

    return network, judged


def patches(size, count):
    """Smooth images (count, 4, *size) and labels (count, 1, *size) that can be seen in them."""
    coarse = torch.randn(count, 4, *(length // 8 for length in size))
    image = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear")
    label = sum((image[:, :1] > edge).float() for edge in (0.2, 0.6, 1.0))
    return image + 0.3 * torch.randn_like(image), label


def one(way):
    """What a way takes; its losses."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    network, judged = parts(way, LARGE)
    optimiser = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)

    def step(image, label):
        optimiser.zero_grad(set_to_none=True)
        value = judged(image, label)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
        return float(value.detach())

    data, seconds = patches(LARGE, 2), []
    for _ in range(1 + TURNS):
        began = time.perf_counter()
        step(*data)
        seconds.append(time.perf_counter() - began)
    found = {"seconds": round(statistics.median(seconds[1:]), 2), "peak_mb": peak()}
    if way == "nnU-Net":
        return found
    torch.manual_seed(1)
    network, judged = parts(way, SMALL)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    image, label = patches(SMALL, 8)
    chosen = [torch.randperm(8)[:2] for _ in range(STEPS)]
    return {**found, "losses": [round(step(image[two], label[two]), 4) for two in chosen]}


def main():
    """Every way in turn, and ratios to nnU-Net, or else to float32."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
        return
    pythons = dict.fromkeys(WAYS, sys.executable)
    pythons.update({"nnU-Net": sys.argv[1]} if sys.argv[1:] else {})
    rows = {}
    for way, python in pythons.items():
        command = [python, __file__, "--one", way]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        rows[way] = json.loads(done.stdout.splitlines()[-1])
    exact = rows["float32"]["losses"]
    first = rows.get("nnU-Net", rows["float32"])
    for way, row in rows.items():
        row["times as fast"] = round(first["seconds"] / row["seconds"], 2)
        if losses := row.pop("losses", []):
            row["loss at the end"] = round(statistics.mean(losses[-3:]), 4)
            gaps = [abs(a - b) for a, b in zip(losses, exact)]
            row["losses apart, at most"] = round(max(gaps), 4)
        print(way, row, flush=True)
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    machine = f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores"
    result = {"machine": machine, "commit": commit.stdout.strip(), "ways": rows}
    to = HERE / "results" / "steps.json"
    to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
