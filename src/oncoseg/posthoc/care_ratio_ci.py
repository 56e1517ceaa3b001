"""CARE: ratios of nested regions with intervals, from voxel noise and past errors beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.blocks.held_out import bound, gathered, lesson, made, refusal, strict
from oncoseg.blocks.ratio_estimator import expected, sizes, within
from oncoseg.case import Array, Prediction
from oncoseg.errors import BadOption
from oncoseg.parts import Posthoc
from oncoseg.registry import Card

CARD = Card(
    "CARE: Confidence-Aware Ratio Estimation for Medical Biomarkers",
    2026,
    arxiv="2505.19585",
    reading="Abstract and reviews were read, the formulas are ours: there Markov's inequality "
    "bounds the voxel noise, and quantiles of both volumes' errors the calibration, as `volumes` "
    "does; here a normal distribution and order statistics of what is beyond it.",
)


class CareRatioCi(Posthoc):
    """R is between r - m and r + m, m = z sd + e, R of any label or region in one that holds it.

    r is the ratio of expected sizes A / B without its bias, sd its deviation by independent voxels,
    z that of a normal number, e what held-out ratios were wrong by beyond z sd. The true one is
    inside in at least `level` of the cases with a true B, if a new case and the held-out ones could
    as well have been drawn in another order. With `volumes` both sizes are bounded instead, each
    within z sd + e (A + c), c = `offset` in ml, and R by their quotients: wider, of more cases.
    """

    def __init__(self, *, level: float = 0.9, volumes: bool = False, offset: float = 0.1) -> None:
        super().__init__()
        if not 0 < level < 1 or not offset > 0:
            given = f"level={level}, offset={offset}"
            raise BadOption(f"care_ratio_ci takes 0 < level < 1 and offset > 0, not {given}")
        self.level, self.volumes = level, volumes
        self.side = (1 + level) / 2 if volumes else level  # half of the rest beyond either size
        self.noise = within(self.side), offset if volumes else 0.0

    def lesson(self, prediction: Prediction, truth: Array) -> dict[str, Any]:
        """How far each ratio, or both its volumes, were off beyond the noise of voxels."""
        true, scores = sizes(prediction, truth), {}
        for share, found in expected(prediction).items():
            part, whole = share.of(true)
            if whole:
                real = (part, whole) if self.volumes else (part / whole,)
                scores[share.name] = [
                    float(max(0.0, abs(one - said) - noise) / scale)
                    for one, (said, noise, scale) in zip(real, found.bounded(*self.noise))
                ]
        return lesson(prediction, scores)

    def fit(self, lessons: Sequence[Mapping[str, Any]]) -> None:
        """`state` gets the bounds e of each ratio, none where cases are too few for the level."""
        scores, state = gathered(lessons), made(lessons)
        sure = strict(self.side, state)
        bounds = {name: [bound(one, sure) for one in zip(*rows)] for name, rows in scores.items()}
        known = {name: errors for name, errors in bounds.items() if None not in errors}
        most = max(map(len, scores.values()), default=0)
        self.state = {**state, "most": most, "errors": known}

    def __call__(self, prediction: Prediction) -> Prediction:
        """The same labels, with ratios of what was found, and a note on their intervals."""
        if not self.state:
            return prediction
        whole = " with the whole in them"
        given = self.state, prediction, self.state["errors"], self.level, self.side
        if told := refusal(*given, whole):
            return prediction.but(notes=(*prediction.notes, f"No intervals of ratios: {told}."))
        ratios = {}
        for share, found in expected(prediction).items():
            if errors := self.state["errors"].get(share.name):
                bounded = zip(errors, found.bounded(*self.noise))
                low, high = found.ends(*(noise + e * scale for e, (_, noise, scale) in bounded))
                ends = {"value": found.ratio, "low": low, "high": high, "level": self.level}
                ratios[share.name] = {key: round(value, 4) for key, value in ends.items()}
        note = (
            f"The interval of a ratio holds the true one in at least {self.level:.0%} of cases, if "
            f"they are like the {self.state['cases']} held-out cases it was learned from."
        )
        return prediction.but(ratios=ratios, notes=(*prediction.notes, *([note] if ratios else ())))
