"""Shares of nested regions, such as necrosis of the tumour, with intervals where they are known."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.ratio_estimator import MOST, shares, sizes
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "CARE: Confidence-Aware Ratio Estimation for Medical Biomarkers",
    2026,
    arxiv="2505.19585",
    reading="The intervals are made by the post-hoc step of this name.",
)
METHOD = (
    "Size of the first divided by that of the second, of which it is a part. With an interval, of "
    "the sizes to be expected by the probability of each voxel, and corrected for the bias that "
    "a ratio of such has; without one, of voxels counted."
)


class CareRatioCi(Finding):
    """Each region and label within each region that holds it and more."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """A row a ratio, none where nothing of the whole was found."""
        pairs, there = shares(prediction.task), sizes(prediction, prediction.label)
        section: dict[str, Any] = {"title": "Ratios", "method": METHOD, "rows": [], "notes": []}
        if not 0 < len(pairs) <= MOST:
            section["notes"] = [_many(len(pairs))]
            return section
        empty, bare = [], []
        for share in pairs:
            row: dict[str, Any] = {"name": share.name, "unit": ""}
            part, whole = share.of(there)
            if not whole:
                empty.append(share.name)
                continue
            if share.name in prediction.ratios:
                row |= prediction.ratios[share.name]
            else:
                row["value"] = part / whole
                bare.append(share.name)
            section["rows"].append(row)
        if empty:
            section["notes"].append(f"Nothing to divide by, so no ratio: {', '.join(empty)}.")
        if bare:
            some = f" {', '.join(bare)}" if len(bare) < len(section["rows"]) else "s of regions"
            section["notes"].append(
                f"How far off the ratio{some} can be is not known: this was not learned with the "
                "model, or cannot be told of such a case."
            )
        return section


def _many(count: int) -> str:
    if not count:
        return "No ratios: no region of this task is a part of another."
    return f"No ratios: {count} regions are parts of others, more than a page holds ({MOST})."
