"""Which pictures stand in a report, in which order, and what is said under them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from oncoseg.blocks.planes import slice_axis, upright
from oncoseg.case import Array, Prediction, Volume
from oncoseg.report.pictures import SMALL, Atlas, flat
from oncoseg.report.records import Figure, Plate

LETTERS = "R, L, A, P, H, F: the patient's right, left, front (anterior), back, head, foot."
SIDES = "Radiological convention: the patient's right is on the left of axial and coronal pictures."


def plates(
    prediction: Prediction,
    images: Mapping[str, Volume],
    diameters: Mapping[str, Any],
    doubt: Array | None = None,
) -> Sequence[Plate]:
    """Overview, every modality, doubt, slice by slice, surfaces, and diameters as measured.

    `doubt` (*S) uint8 is the map of entropy, if there is one.
    """
    if not images and prediction.images:
        return []
    if prediction.grid.dims == 2:
        figures = [Figure(flat(prediction, images, name), name, kind="single") for name in images]
        return [Plate("Picture", "Contours over the image.", figures, min(2, len(figures)))]
    atlas = Atlas(prediction, images)
    best, plane = atlas.telling("axial"), slice_axis(prediction.grid)[1]
    seen = atlas.described(best)
    drawn = [_overview(atlas, best, seen)]
    if len(images) > 1:
        drawn.append(_modalities(atlas, plane))
    if doubt is not None:
        drawn.append(_doubt(atlas, best, upright(doubt, prediction.grid)[0]))
    return [
        *drawn,
        _montage(atlas, best, plane, seen),
        *_surfaces(atlas),
        *_ruled(atlas, best, diameters),
    ]


def _overview(atlas: Atlas, best: str, seen: str) -> Plate:
    there = atlas.tumour.any()
    where = "Where the tumour is largest in each plane" if there else "The middle of the image"
    figures = [
        Figure(
            atlas.panel(best, plane, atlas.widest(plane)),
            plane.capitalize(),
            atlas.position(plane, atlas.widest(plane)),
        )
        for plane in ("axial", "coronal", "sagittal")
    ]
    return Plate("Overview", f"{where}, in {seen}. {SIDES} {LETTERS}", figures, 3)


def _modalities(atlas: Atlas, plane: str) -> Plate:
    at = atlas.widest(plane)
    figures = [
        Figure(atlas.panel(name, plane, at, SMALL), name, image.window)
        for name, image in atlas.images.items()
    ]
    text = f"The same {plane} slice, {atlas.position(plane, at)}, in every image used."
    return Plate("In every modality", text, figures, max(3, min(4, len(figures))), "small")


def _doubt(atlas: Atlas, best: str, doubt: Array) -> Plate:
    planes = ("axial", "coronal", "sagittal")
    figures = [
        Figure(
            atlas.doubtful(best, plane, doubt),
            plane.capitalize(),
            atlas.position(plane, atlas.widest(plane)),
        )
        for plane in planes
    ]
    text = (
        "The redder a voxel, the less sure the model is of its label (entropy, from none to the "
        "largest there is). What is not red can be wrong too."
    )
    return Plate("Where the model is unsure", text, figures, 3)


def _montage(atlas: Atlas, best: str, plane: str, seen: str) -> Plate:
    figures = [
        Figure(atlas.panel(best, plane, at, SMALL), atlas.position(plane, at))
        for at in atlas.montage(plane)
    ]
    through = "tumour" if atlas.tumour.any() else "image"
    text = f"{plane.capitalize()} slices evenly through the {through}, in {seen}."
    return Plate("Slice by slice", text, figures, 5, "small")


def _surfaces(atlas: Atlas) -> list[Plate]:
    figures = [
        Figure(
            f'<img alt="{escape(f"Surfaces seen from {name}")}" src="{uri}">',
            f"From {name}",
            kind="surface",
        )
        for name, uri in atlas.surfaces()
    ]
    text = "Surfaces of the regions, smoothed for display only, within the outline of the image."
    text += "".join(
        f" {name} is left out: {small} fills most of it." for name, small in atlas.full.items()
    )
    return [Plate("In three dimensions", text, figures, 4)] if figures else []


def _ruled(atlas: Atlas, best: str, diameters: Mapping[str, Any]) -> list[Plate]:
    figures = []
    for row in diameters["rows"]:
        if "ends" in row:
            value = f"longest diameter {row['value']:.1f} {row['unit']}"
            picture = atlas.ruled(best, diameters["plane"], row)
            figures.append(Figure(picture, row["region"], value))
    text = (
        f"The {diameters['plane']} slice that holds each longest diameter, with its perpendicular."
    )
    count = max(3, min(4, len(figures)))
    return [Plate("Diameters as measured", text, figures, count)] if figures else []
