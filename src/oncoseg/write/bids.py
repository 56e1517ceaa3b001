"""BIDS derivatives: label map, table of labels and sidecar of each case, in one data set."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from oncoseg import __version__, files
from oncoseg.case import Prediction
from oncoseg.errors import BadData
from oncoseg.write.provenance import identify, maker, renamed
from oncoseg.write.pseudonyms import Pseudonyms
from oncoseg.write.volume import nifti_bytes

HOME = Path("derivatives") / "oncoseg"
NAMED = re.compile(r"sub-([0-9A-Za-z]+)(?:_ses-([0-9A-Za-z]+))?(?:_|$)")
NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment."
DESCRIPTION = {
    "Name": "oncoseg: tumour segmentations",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "License": "That of the scans; the licence of the model is in each sidecar",
    "GeneratedBy": [
        {
            "Name": "oncoseg",
            "Version": __version__,
            "Description": "Label maps on the grid of each scan; sidecars name model and inputs",
        }
    ],
}
README = f"""Segmentations made with oncoseg {__version__}. {NOTICE}

`*_dseg.nii.gz` are label maps on the grid of the scan they were made from, `*_dseg.tsv` says which
value is which label, and `*_dseg.json` which model made them from which inputs.
"""


def derivatives(prediction: Prediction, to: Path, new: Pseudonyms) -> dict[Path, bytes]:
    """Path -> content of every file of a case, and of the data set.

    Subject and session are those of the BIDS files that were read, else the case's name without
    other signs than letters and digits. Raises `BadData` if that is already another case's.
    """
    home = Path(to) / HOME
    subject, session = _names(prediction, new)
    entities = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    folder = home.joinpath(*entities, "anat")
    segmented = re.sub(r"[^0-9A-Za-z]", "", prediction.task.name) or "oncoseg"
    stem = "_".join([*entities, "space-orig", f"seg-{segmented}", "dseg"])
    side = folder / f"{stem}.json"
    sidecar = _sidecar(prediction, home, new)
    if side.exists() and files.read_json(side).get("Case") != sidecar["Case"]:
        raise BadData(
            f"case {prediction.case}: its BIDS name {stem} is that of another case already; "
            "write to another folder, or rename one of the two"
        )
    label = nifti_bytes(folder / f"{stem}.nii.gz", prediction.label, prediction.grid)
    return {
        home / "dataset_description.json": _json(DESCRIPTION),
        home / "README": README.encode(),
        folder / f"{stem}.tsv": _table(prediction),
        folder / f"{stem}.nii.gz": label,
        side: _json(sidecar),
    }


def _names(prediction: Prediction, new: Pseudonyms) -> tuple[str, str]:
    """Subject and session."""
    for name in (*(path.name for path in prediction.images.values()), prediction.case):
        if found := NAMED.match(name):
            subject, session = found[1], found[2] or ""
            break
    else:
        subject, session = re.sub(r"[^0-9A-Za-z]", "", prediction.case), ""
    if not subject:
        raise BadData(
            f"case {prediction.case}: its name has no letter or digit that BIDS allows; rename it"
        )
    if not new:
        return subject, session
    return new.name(f"subject {subject}"), new.name(f"session {session}") if session else ""


def _sidecar(prediction: Prediction, home: Path, new: Pseudonyms) -> dict[str, Any]:
    made = maker(prediction)
    model = {key: made[key] for key in ("name", "version", "sha256")}
    sources = {} if new else _sources(prediction, home)
    return {
        "Manual": False,
        "SpatialReference": "orig",
        **sources,
        "Case": new.name(f"case {prediction.case}") if new else prediction.case,
        "Model": {**model, "licence": str(prediction.model.get("licence", "not stated"))},
        "Software": f"oncoseg {made['oncoseg']}",
        "Inputs": renamed(prediction.inputs or identify(prediction.images), new),
        "Regions": {name: list(members) for name, members in prediction.task.regions.items()},
        "Notice": NOTICE,
    }


def _sources(prediction: Prediction, home: Path) -> dict[str, Any]:
    """`Sources` as paths from the derived data set, for inputs that lie in a BIDS data set."""
    found = []
    for path in prediction.images.values():
        inside = [root for root in path.parents if (root / "dataset_description.json").is_file()]
        if inside and path.name.startswith("sub-"):
            found.append(PurePosixPath(Path(os.path.relpath(path, home))).as_posix())
    return {"Sources": found} if found else {}


def _table(prediction: Prediction) -> bytes:
    lines = ["index\tname"]
    for name, value in sorted(prediction.task.labels.items(), key=lambda item: item[1]):
        lines.append(f"{value}\t{' '.join(name.split())}")
    return ("\n".join(lines) + "\n").encode()


def _json(said: Any) -> bytes:
    return (json.dumps(said, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
