"""What a prediction rests on: modalities used and missing, and the Dice to be expected."""

from __future__ import annotations

from typing import Any

from oncoseg.blocks.expected_dice import expected_dice
from oncoseg.case import Case, Prediction
from oncoseg.parts import Finding
from oncoseg.registry import Card

CARD = Card(
    "Optimization for Medical Image Segmentation: Theory and Practice when Evaluating With Dice "
    "Score or Jaccard Index",
    2020,
    doi="10.1109/TMI.2020.3002417",
    reading="The ratio of expectations stands for the expectation of the ratio.",
)


class Quality(Finding):
    """Expected Dice = 2 sum(p m) / sum(p + m), for mask m and calibrated probability p."""

    def __call__(self, prediction: Prediction, case: Case) -> dict[str, Any]:
        """Confidence rows are there only if the prediction still holds its probabilities."""
        missing = ", ".join(prediction.missing) or "none"
        rows: list[dict[str, Any]] = [
            {"name": "modalities used", "value": ", ".join(prediction.used), "unit": ""},
            {"name": "modalities missing", "value": missing, "unit": ""},
        ]
        rows += [
            {"region": name, "name": "expected Dice", "value": value, "unit": ""}
            for name, value in expected_dice(prediction).items()
        ]
        rows += [
            {"region": name, "name": "predicted Dice", "unit": "", **found}
            for name, found in prediction.predicted_dice.items()
        ]
        method = (
            "Expected Dice follows from the probabilities, and is right if they are calibrated; "
            "predicted Dice corrects it by what came true of held-out cases."
        )
        return {"title": "Quality", "method": method, "rows": rows}
