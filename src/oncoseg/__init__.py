"""oncoseg turns scans into trusted tumour measurements. Research use only, not a medical device.

The path of the data, a module each: read -> prepare -> sample -> train -> predict -> evaluate ->
report. Verbs and records are loaded on first use, so importing the package is cheap and needs no
torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Batch": "case",
    "Case": "case",
    "Grid": "case",
    "Prediction": "case",
    "Predictor": "predict",
    "Prompts": "case",
    "Source": "case",
    "Task": "case",
    "Volume": "case",
    "OncosegError": "errors",
    "build": "registry",
}
_VERBS = (
    *("read", "prepare", "sample", "train", "predict", "evaluate", "report"),
    *("froc", "fit", "prompt", "clicks"),
)
__all__ = [*_HOMES, *_VERBS, "__version__"]  # noqa: PLE0604 - names are strings, listed above


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return importlib.import_module(f"oncoseg.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"oncoseg.{_HOMES[name]}"), name)
    raise AttributeError(f"oncoseg has no '{name}'")
