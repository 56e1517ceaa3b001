"""Train with networks and methods paired at random, each by one command.

    python benchmarks/pairs.py --seed 1 --count 20

Each pair is two steps of `oncoseg train` on a toy world, as a user would run it, from the folder of
scans to the model file. Prints a line a pair and fails if any pair does.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from oncoseg import phantom, registry

DATA = {"labeled", "unlabeled", "start"}


def main() -> int:
    """Draw the pairs and train each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    words = parser.parse_args()
    everything = fitting()
    chosen = random.Random(words.seed).sample(everything, min(words.count, len(everything)))
    print(f"seed {words.seed}: {len(chosen)} of {len(everything)} pairs that fit")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, cases = phantom.world(3, 6, dims=2, size=32, modalities=("a",))
        for case in cases:
            phantom.write(case, folder / "data", layout="folders")
        train(folder, "helper", "unet:width=4", "supervised")
        for network, method in chosen:
            began = time.monotonic()
            done = pair(folder, network, method)
            seconds = time.monotonic() - began
            failed += done.returncode != 0
            state = "ran" if done.returncode == 0 else done.stderr.strip()
            print(f"{network:<20} {method:<22} {seconds:5.1f} s  {state}", flush=True)
    return int(failed > 0)


def fitting() -> list[tuple[str, str]]:
    """Every network and method such that the network gives what the method needs."""
    return [
        (network.name, method.name)
        for network in registry.entries("networks")
        for method in registry.entries("methods")
        if set(method.needs) - DATA <= set(network.gives)
        and (not network.only or set(network.only) & set(method.needs))
    ]


def pair(folder: Path, network: str, method: str) -> subprocess.CompletedProcess[str]:
    """One pair, after whatever it needs."""
    found = registry.entry("methods", method)
    more = ["--labelled", "3"] if "unlabeled" in found.needs else []
    if "start" in found.needs:
        train(folder, f"start_{network}", network, "supervised")
        more += ["--start", str(folder / f"start_{network}.onco")]
    words = [f"model={folder / 'helper.onco'}" for each in found.options if each.name == "model"]
    words += ["prior=0.1" for each in found.options if each.name == "prior"]
    return train(folder, f"{network}-{method}", network, f"{method}:{','.join(words)}", *more)


def train(
    folder: Path, name: str, network: str, method: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """Two steps of `oncoseg train`."""
    command = [sys.executable, "-m", "oncoseg", "train", str(folder / "data")]
    command += ["--to", str(folder / f"{name}.onco"), "--network", network, "--method", method]
    command += ["--steps", "2", "--batch", "2", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
