"""A threshold for whole lesions: as many false alarms, or as much found, as was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from oncoseg.blocks.froc import Froc, checked, found, kept
from oncoseg.blocks.layouts import patient_of
from oncoseg.blocks.relabel import redrawn
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadData, BadOption, unknown
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
    given as `threshold`. A candidate finds what it overlaps by `iou`. A floor below 0.5
    takes doubtful lesions too, and draws all larger.
    """

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
            said = f"not {false_positives:g}, {sensitivity:g} and {threshold:g}"
            known = "false_positives of 0 or more, a sensitivity or threshold from 0 to 1"
            raise BadOption(f"operating_point takes {known}, {said}")
        if threshold:
            self.state = {"points": {}}  # nothing is left to learn
        self._goal = {"false_positives": false_positives, "sensitivity": sensitivity}
        self.threshold, self.region, (self.floor, self.iou) = threshold, region, checked(floor, iou)

    def fit(self, predictions: Sequence[Prediction], truths: Sequence[Array]) -> None:
        """`state` gets each region's threshold and what it achieved; `BadData` if none can."""
        if not predictions:
            raise BadData("an operating point is learned from held-out cases, but there are none")
        patients, points = [patient_of(one.case) for one in predictions], {}
        for name, place in self._regions(predictions[0]):
            cases = [
                found(one.probability[place], one.task.masks(truth)[name], self.floor, self.iou)
                for one, truth in zip(predictions, truths)
            ]
            curve = Froc(cases, patients, self.floor, name)
            points[name] = curve.point(self.threshold or curve.chosen(**self._goal)).as_dict()
        self.state = {"cases": len(predictions), "points": points}

    def __call__(self, prediction: Prediction) -> Prediction:
        """Labels of the candidates that stay, and a note on how many; the same if untaught."""
        task, label, notes = prediction.task, prediction.label, list(prediction.notes)
        for name, place in self._regions(prediction):
            point = self.state.get("points", {}).get(name, {})
            if (threshold := self.threshold or point.get("threshold")) is None:
                continue
            mask, stay, count = kept(prediction.probability[place], self.floor, threshold)
            label = redrawn(task, name, label, mask)
            notes.append(
                f"Operating point of {name}: {stay} of {count} candidates stay, those with a "
                f"probability of {threshold:.4g} somewhere."
            )
        return prediction.but(label=label, notes=tuple(notes))

    def _regions(self, prediction: Prediction) -> list[tuple[str, int]]:
        """Regions that have a threshold and their places, those with most labels first."""
        regions = prediction.task.regions
        if self.region and self.region not in regions:
            raise unknown("region", self.region, regions)
        places = [(name, at) for at, name in enumerate(regions) if self.region in ("", name)]
        return sorted(places, key=lambda one: -len(regions[one[0]]))
