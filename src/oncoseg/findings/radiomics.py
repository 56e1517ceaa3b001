"""Radiomic features of each region in each image: shape, intensity and texture by the IBSI."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.radiomics import Part, Settings, tabled
from oncoseg.blocks.segments import lesions, regions
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "The Image Biomarker Standardization Initiative: Standardized Quantitative Radiomics for "
    "High-Throughput Image-based Phenotyping",
    2020,
    doi="10.1148/radiol.2020191145",
    reading="Features equal the values of its digital phantom, as the manual lists them "
    "(arXiv 1612.07003). Not said there, and ours: 32 bins by default, an image elsewhere "
    "resampled linearly, correlation 1 and information correlation 0 if all levels are alike.",
)


class Radiomics(Finding):
    """`families` joined by `+`, or `all`; `width` replaces `bins` for images that are calibrated.

    `within=-500x400` and `outliers=3` leave intensities out (re-segmentation). `image=t1+t2`
    names the images measured, all if none. With `lesion` each lesion is measured, not each region.
    """

    def __init__(
        self,
        *,
        families: str = "morphology+statistics+glcm+glrlm+glszm+gldzm+ngtdm+ngldm",
        bins: int = 32,
        width: float = 0.0,
        merged: bool = False,
        within: tuple[float, ...] = (),
        outliers: float = 0.0,
        image: str = "",
        lesion: bool = False,
    ) -> None:
        self.settings = Settings(families, bins, width, merged, within, outliers, image)
        self.lesion = lesion

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """A row each feature of shape, and of each image, whose name stands before it."""
        kind, found = ("lesion", lesions) if self.lesion else ("region", regions)
        parts = [
            Part({kind: one.name}, one.box, one.part) for one in found(prediction) if one.part.any()
        ]
        rows, notes = tabled(parts, case.images, prediction.grid, self.settings)
        method = (
            "Features and their names are those of the Image Biomarker Standardization Initiative; "
            f"images are neither filtered nor normalised. {self.settings.said}"
        )
        return {"title": "Radiomics", "method": method, "rows": rows, "notes": notes}
