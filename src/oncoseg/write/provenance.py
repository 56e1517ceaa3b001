"""Where a result comes from: what its inputs were, exactly, and what made it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oncoseg import __version__, files
from oncoseg.blocks.layouts import is_dicom
from oncoseg.case import Prediction
from oncoseg.errors import OncosegError
from oncoseg.write.pseudonyms import Pseudonyms
from oncoseg.write.source import Stack, stack, text

Inputs = dict[str, dict[str, Any]]


def identify(images: Mapping[str, Path]) -> Inputs:
    """Modality -> `sha256` of its file; of a DICOM series also its UIDs.

    A series has `study`, `series`, `frame_of_reference` and `instances`, in the order of its
    slices, and its `sha256` is that of its files' digests in this order. What is not there (any
    more), or no series that a result could be linked to, is left out.
    """
    known: dict[Path, dict[str, Any]] = {}
    for path in images.values():
        if path.exists() and path not in known:
            known[path] = _identified(path)
    return {name: known[path] for name, path in images.items() if known.get(path)}


def _identified(path: Path) -> dict[str, Any]:
    try:
        if not path.is_dir() and not is_dicom(path):
            return {"sha256": files.sha256(path)}
        found = stack(path)
        return {**uids(found), "sha256": _digest(found)}
    except (OncosegError, OSError):
        return {}


def uids(found: Stack) -> dict[str, Any]:
    """What names a series and its slices."""
    first = found.slices[0]
    return {
        "study": str(first.StudyInstanceUID),
        "series": found.series,
        "frame_of_reference": str(first.FrameOfReferenceUID),
        "instances": found.instances,
    }


def _digest(found: Stack) -> str:
    digest = hashlib.sha256()
    for file in found.files:
        digest.update(bytes.fromhex(files.sha256(file)))
    return digest.hexdigest()


def renamed(inputs: Mapping[str, Mapping[str, Any]], new: Pseudonyms) -> Inputs:
    """Inputs with every UID and checksum replaced, if there are pseudonyms."""
    if not new:
        return {name: dict(said) for name, said in inputs.items()}
    return {
        name: {key: _renamed(key, value, new) for key, value in said.items()}
        for name, said in inputs.items()
    }


def _renamed(key: str, value: Any, new: Pseudonyms) -> Any:
    if isinstance(value, list):
        return [new.uid(str(one)) for one in value]
    return new.name(str(value)) if key == "sha256" else new.uid(str(value))


def maker(prediction: Prediction) -> dict[str, str]:
    """What made a result: `name`, `version` and `sha256` of the model, and `oncoseg`."""
    model = prediction.model
    return {
        "name": text(str(model.get("name") or "unnamed model")),
        "version": text(str(model.get("version") or "unknown"), 32),
        "sha256": text(str(model.get("sha256") or "unknown")),
        "oncoseg": __version__,
    }
