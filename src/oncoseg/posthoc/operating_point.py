"""A threshold for whole lesions: as many false alarms, or as much found, as was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.blocks.froc import Found, Froc, checked, found, kept
from oncoseg.blocks.layouts import patient_of
from oncoseg.blocks.relabel import outer_first, redrawn
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "Validation, comparison, and combination of algorithms for automatic detection of pulmonary "
    "nodules in computed tomography images: The LUNA16 challenge",
    2017,
    arxiv="1612.08012",
    reading="Candidates are components above `floor`, scored by their highest probability (Jaeger "
    "2018, arXiv 1811.08661), and find by an IoU of 0.1, as in PI-CAI (Saha 2024). A region is "
    "redrawn as the candidates that stay.",
)


class OperatingPoint(Posthoc):
    """Components of p >= `floor` stay if their highest probability is at least a threshold.

    The threshold of each region (or `region` alone) is learned: the most lesions found with at most
    `false_positives` a case, or the fewest false positives with at least a `sensitivity`; or it is
    given as `threshold`. A candidate finds what it overlaps by `iou`. A floor below 0.5 takes
    doubtful lesions too, and draws all larger.
    """

    changes = ("label",)

    def __init__(
        self,
        *,
        false_positives: float = 1.0,
        sensitivity: float = 0.0,
        threshold: float = 0.0,
        floor: float = 0.5,
        iou: float = 0.1,
        region: str = "",
    ) -> None:
        super().__init__()
        if not (false_positives >= 0 and 0 <= sensitivity <= 1 and 0 <= threshold <= 1):
            known = "operating_point takes false_positives of 0 or more, a sensitivity or threshold"
            said = f"{false_positives:g}, {sensitivity:g} and {threshold:g}"
            raise BadOption(f"{known} from 0 to 1, not {said}")
        if threshold:
            self.state = {"points": {}}  # nothing is left to learn
        self._goal = {"false_positives": false_positives, "sensitivity": sensitivity}
        self.threshold, self.region, (self.floor, self.iou) = threshold, region, checked(floor, iou)

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """The scores of the candidates and of the lesions they found, region by region."""
        task, regions = prediction.task, {}
        for name in outer_first(task, self.region):
            chance = prediction.probability[list(task.regions).index(name)]
            true = task.masks(truth)[name]
            regions[name] = found(chance, true, self.floor, self.iou).as_lists()
        return {"patient": patient_of(prediction.case), "regions": regions}

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:
        """`state` gets each region's threshold and what it achieved; `BadData` if none can."""
        patients, points = [one["patient"] for one in lessons], {}
        for name in lessons[0]["regions"]:
            cases = [Found.of(one["regions"][name]) for one in lessons]
            curve = Froc(cases, patients, self.floor, name)
            points[name] = curve.point(self.threshold or curve.chosen(**self._goal)).as_dict()
        self.state = {"cases": len(lessons), "points": points}

    def __call__(self, prediction: Prediction) -> Prediction:
        """Labels of the candidates that stay, and a note on how many; the same if untaught."""
        task, label, notes = prediction.task, prediction.label, list(prediction.notes)
        for name in outer_first(task, self.region):
            learned = self.state.get("points", {}).get(name, {}).get("threshold")
            if (threshold := self.threshold or learned) is None:
                continue
            chance = prediction.probability[list(task.regions).index(name)]
            mask, stay, count = kept(chance, self.floor, threshold)
            label = redrawn(task, name, label, mask)
            notes.append(
                f"Operating point of {name}: {stay} of {count} candidates stay, those with a "
                f"probability of {threshold:.4g} somewhere."
            )
        return prediction.but(label=label, notes=tuple(notes))
