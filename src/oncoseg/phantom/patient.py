"""One synthetic patient: a skull-stripped head with a glioma, in several sequences of MRI."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oncoseg.case import Array, Case, Grid, Task, Volume
from oncoseg.errors import BadOption
from oncoseg.phantom import anatomy, fields, scanner
from oncoseg.phantom import tumour as glioma

LABELS = {"NCR": 1, "ED": 2, "ET": 4}
TASK = Task(
    name="glioma",
    modalities=("t1", "t1ce", "t2", "flair"),
    labels=LABELS,
    regions={"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)},
    spacing=(1.0, 1.0, 1.0),
    patch=(128, 128, 128),
    strides=((2, 2, 2),) * 5,
)
FIELD = (150.0, 188.0, 152.0)


def patient(
    seed: int,
    *,
    shape: tuple[int, int, int] = (176, 208, 160),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    tumour: bool = True,
    modalities: Sequence[str] = ("t1", "t1ce", "t2", "flair"),
    contrast: scanner.Contrast = "typical",
) -> Case:
    """A patient as in BraTS: int16, axes to the left, back and head, 0 outside the brain.

    The head depends on `seed` alone, not on the grid; one too large for the field of view is
    shrunk to fit. `contrast="random"` draws the mean of every tissue freely, save that tumour
    stays on its usual side of normal brain. Raises `BadOption` without modalities or for another
    contrast.
    """
    if not modalities:
        raise BadOption("a patient needs at least one modality; name some of t1, t1ce, t2, flair")
    if contrast not in ("typical", "random"):
        raise BadOption(f"no contrast '{contrast}'; there are typical, random")
    axes, window = _axes(shape, spacing)
    tissue, label = _anatomy(seed, axes, tumour=tumour)
    name = f"phantom_{seed:04d}"
    grid = Grid(tuple(shape), _affine(shape, spacing))

    def volume(array: Array, ending: str) -> Volume:
        whole = np.zeros(shape, dtype=array.dtype)
        whole[window] = array
        return Volume(whole[::-1, ::-1].copy(), grid, Path(f"{name}_{ending}.nii.gz"))

    images = {}
    for modality in modalities:
        # By name, so that a sequence looks the same whichever others are asked for.
        rng = np.random.default_rng((seed, 2, zlib.crc32(modality.encode())))
        image = scanner.expose(modality, tissue, label, rng, axes, contrast=contrast)
        gain = np.exp(rng.uniform(np.log(300), np.log(2000)))
        counts = np.clip(np.round(image * gain), image > 0, 32000)
        images[modality] = volume(counts.astype(np.int16), modality)
    case = Case(id=name, patient=name, images=images, annotated=tuple(LABELS), site="phantom")
    return Case(**{**vars(case), "labels": {case.reference: volume(label, "seg")}})


def _anatomy(seed: int, axes: fields.Axes, *, tumour: bool) -> tuple[Array, Array]:
    rng = np.random.default_rng((seed, 0))
    place = anatomy.placement(rng)
    growth = np.random.default_rng((seed, 1))
    lesion = glioma.plan(place, growth)
    if tumour:
        place = glioma.displace(place, lesion)
    body = anatomy.head(place, rng)
    tissue = anatomy.tissues(body, rng, axes)
    if not tumour:
        return tissue, np.zeros(tissue.shape, dtype=np.uint8)
    return tissue, glioma.grow(lesion, body, tissue, growth, axes)


def _axes(shape: Sequence[int], spacing: Sequence[float]) -> tuple[list[Array], tuple[slice, ...]]:
    """Coordinates of the voxels that a head can reach, and where these lie in the image."""
    fit = min(1.0, *(n * step / need for n, step, need in zip(shape, spacing, FIELD)))
    whole = [(np.arange(n) - (n - 1) / 2) * step / fit for n, step in zip(shape, spacing)]
    reach = [np.flatnonzero(np.abs(axis) <= half - 2) for axis, half in zip(whole, fields.EXTENT)]
    window = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in reach)
    return [axis[part].astype(np.float32) for axis, part in zip(whole, window)], window


def _affine(shape: Sequence[int], spacing: Sequence[float]) -> Array:
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing[1]
    return affine
