"""Write: results become files that viewers, planning systems and hospital archives take as theirs.

NIfTI (`.nii`, `.nii.gz`) for volumes and 2-D images, PNG for pictures; DICOM SEG, RTSTRUCT and SR
(TID 1500) that belong to the series they were made from; BIDS derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from oncoseg import files
from oncoseg.blocks import segments
from oncoseg.case import Grid, Prediction
from oncoseg.errors import BadFile, OncosegError, unknown
from oncoseg.extras import require
from oncoseg.write import bids, dicom_seg, dicom_sr, rtstruct
from oncoseg.write.dicom import Origin, content
from oncoseg.write.provenance import identify
from oncoseg.write.pseudonyms import Pseudonyms
from oncoseg.write.source import Stack, reference, silent, stacks
from oncoseg.write.volume import write_volume

__all__ = [
    "KINDS",
    "Pseudonyms",
    "check",
    "identify",
    "known",
    "made_of",
    "origin_of",
    "write_prediction",
    "write_volume",
]

Build = Callable[[Origin, Prediction], dict[str, bytes]]


def write_prediction(
    prediction: Prediction,
    to: Path,
    kinds: Sequence[str],
    *,
    pseudonyms: Pseudonyms = Pseudonyms(),  # noqa: B008 - frozen
) -> list[Path]:
    """Write a prediction as any of `KINDS`; all of them or none. Returns the files.

    DICOM goes to `<case>.<kind>.dcm`, BIDS to `derivatives/oncoseg/`; under pseudonyms no file name
    and nothing in a file tells the patient. Raises `BadData` if a DICOM kind is asked for and the
    result lies on no DICOM series, `BadFile` if that series is not the one that was segmented.
    """
    known(kinds)
    built: dict[Path, bytes] = {}
    # A report brings the segmentation that it refers to: another of the same name would undo it.
    once = set(kinds) - ({"seg"} if "sr" in kinds else set())
    if wanted := [kind for kind in DICOM if kind in once]:
        with silent():
            origin, stem = origin_of(prediction, pseudonyms)
            for kind in wanted:
                for name, made in DICOM[kind](origin, prediction).items():
                    built[Path(to) / f"{stem}.{name}.dcm"] = made
    if "bids" in kinds:
        built |= bids.derivatives(prediction, Path(to), pseudonyms)
    return _all_or_none(built)


def known(kinds: Sequence[str]) -> None:
    """Raise `UnknownName` for a kind that there is not."""
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of result", kind, KINDS)


def check(case: str, images: Mapping[str, Path], grid: Grid, kinds: Sequence[str]) -> None:
    """Raise now what `write_prediction` would raise after the work: no series, no package."""
    known(kinds)
    if any(kind in DICOM for kind in kinds):
        require("highdicom", "dicom")
        reference(case, stacks(images), grid)


def made_of(case: str) -> list[str]:
    """Names of the DICOM files that a case may have beside its record."""
    return [f"{case}.{name}.dcm" for name in ("seg", "labelmap", "lesions", "rtstruct", "sr")]


def origin_of(prediction: Prediction, new: Pseudonyms) -> tuple[Origin, str]:
    """What DICOM objects of a prediction belong to, and how their files' names begin.

    Raises as `write_prediction` does.
    """
    require("highdicom", "dicom")
    found = stacks(prediction.images)
    stack = reference(prediction.case, found, prediction.grid)
    for name, one in found.items():
        _unchanged(prediction, name, one)
    origin = Origin.of(prediction, stack, found, new)
    patient = str(origin.stack.slices[0].PatientID)
    stem = f"{patient}_{new.name(f'case {prediction.case}')[1:7]}" if new else prediction.case
    return origin, stem


def _unchanged(prediction: Prediction, name: str, one: Stack) -> None:
    """The slices are those that were segmented, as far as the record says which."""
    said = prediction.inputs.get(name, {}).get("instances")
    if said is not None and list(said) != one.instances:
        cause = f"is not the series that case {prediction.case} was made from (other instances)"
        raise BadFile(one.path, cause, "run 'oncoseg predict' again")


def _all_or_none(built: Mapping[Path, bytes]) -> list[Path]:
    written: list[Path] = []
    try:
        for path, made in built.items():
            new = not path.exists()
            files.write_bytes(path, made)
            written += [path] if new else []
    except OncosegError:
        for path in written:
            path.unlink()
        raise
    return list(built)


def _seg(origin: Origin, prediction: Prediction) -> dict[str, bytes]:
    return {"seg": content(dicom_seg.segmentation(origin, segments.regions(prediction), "seg"))}


def _labelmap(origin: Origin, prediction: Prediction) -> dict[str, bytes]:
    made = dicom_seg.segmentation(origin, segments.labels(prediction), "labelmap")
    return {"labelmap": content(made)}


def _rtstruct(origin: Origin, prediction: Prediction) -> dict[str, bytes]:
    return {"rtstruct": content(rtstruct.structure_set(origin, segments.regions(prediction)))}


def _sr(origin: Origin, prediction: Prediction) -> dict[str, bytes]:
    """The report, and the segmentations of regions and of lesions that it measures."""
    whole, parts = segments.regions(prediction), segments.lesions(prediction)
    found = {"seg": dicom_seg.segmentation(origin, whole, "seg")}
    if parts:
        found["lesions"] = dicom_seg.segmentation(origin, parts, "lesions")
    found["sr"] = dicom_sr.report(
        origin, prediction, whole, found["seg"], parts, found.get("lesions")
    )
    return {name: content(made) for name, made in found.items()}


DICOM: dict[str, Build] = {"seg": _seg, "labelmap": _labelmap, "rtstruct": _rtstruct, "sr": _sr}
KINDS = (*DICOM, "bids")
