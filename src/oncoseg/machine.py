"""What this process computes with, in words: seconds say nothing without it."""

from __future__ import annotations

import platform
from pathlib import Path


def machine(device: str) -> str:
    """Processor or GPU, threads and torch: `AMD EPYC, 2 threads, torch 2.13.0`."""
    import torch  # noqa: PLC0415 - slow to import

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"{_processor()}, {threads} thread{'s' * (threads > 1)}"
    return f"{name}, torch {torch.__version__.partition('+')[0]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):  # another system, or a processor without a name
        return platform.processor() or platform.machine()
