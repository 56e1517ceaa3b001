"""Optional packages, imported on use; the error holds the pip line."""

from __future__ import annotations

import importlib
from types import ModuleType

from oncoseg.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import `module`; raises `MissingExtra` naming the extra of oncoseg that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        cause = f"this needs the package '{package}', which is not installed"
        raise MissingExtra(f"{cause}; run: pip install 'oncoseg[{extra}]'") from error
