"""Evaluate: predictions against the truth, a value for each case, region and metric, none dropped.

Cases that are missing or broken count as the worst there is, so no mean improves by losing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import registry
from oncoseg.blocks import surface
from oncoseg.case import Array, Grid, Task
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.evaluate.inputs import Compared, Inputs, failing, gather
from oncoseg.evaluate.kept import Finished, Kept
from oncoseg.evaluate.probabilities import all_there, counted, probability, reliability, where
from oncoseg.evaluate.scheme import Scheme
from oncoseg.evaluate.stream import THREADS, streamed
from oncoseg.evaluate.table import Evaluation, Row
from oncoseg.parts import Metric

__all__ = ["Evaluation", "Row", "evaluate", "score"]

METRICS = ("dice", "hd95", "nsd", "volume_difference", "relative_volume_difference")


def evaluate(
    predictions: Path,
    truth: Path,
    *,
    metrics: Sequence[str] = METRICS,
    regions: Mapping[str, Sequence[int]] | None = None,
    samples: int = 2000,
    seed: int = 0,
    to: Path | None = None,
    instances: bool = False,
) -> Evaluation:
    """Compare every predicted case with its truth.

    `predictions` holds what 'oncoseg predict' wrote, whose records say what the regions are, or
    label maps alone: `regions` then gives their label values, without it each value is a region.
    `truth` is a data set in any layout or a folder of label maps named by case. Intervals are 95 %
    percentiles of `samples` bootstrap means over patients. With `to`, the table is written to that
    folder, where compared cases are kept too: a run that was killed goes on from there. With
    `instances` each value but 0 of a label map is one instance, on both sides: metrics that know
    instances compare those, the others all of them as one mask.

    A case counts as the worst value of each metric if it has no prediction, a file that cannot be
    read, a prediction on another grid than its truth, or labels that no region knows. Raises
    `BadData` where distances are asked for on a grid whose axes are not at right angles, if no case
    is in both, and if none could be compared.
    """
    if samples < 0:
        raise BadOption(f"'samples' takes a whole number, 0 or more, not {samples}")
    tools = _built(metrics)
    inputs = gather(Path(predictions), Path(truth), regions, instances=instances)
    all_there(inputs.predictions, list(inputs.scheme.regions), tools)
    asked = [
        instances,
        list(tools),
        dict(inputs.scheme.regions),
        inputs.scheme.ignore,
        dict(inputs.labels),
    ]
    kept = Kept(None if to is None else Path(to), asked)
    rows: list[Row] = []
    notes = list(inputs.notes)
    compare = partial(_case, inputs=inputs, tools=tools, kept=kept)
    bins: dict[str, Array] = {}
    for finished in streamed(compare, inputs.cases, title="evaluate"):
        rows += finished.rows
        notes += finished.notes
        for region, table in finished.bins.items():
            bins[region] = bins.get(region, 0) + np.array(table)
    _some_compared(rows)
    notes += _absent(rows)
    described = {
        name: {"unit": tool.unit, "higher": tool.higher, "empty": tool.empty}
        for name, tool in tools.items()
    }
    found = Evaluation.of(rows, described, notes=_once(notes), samples=samples, seed=seed)
    found = replace(found, reliability=reliability(bins))
    if to is not None:
        found.write(Path(to))
    return found


def score(
    prediction_label: Array,
    truth_label: Array,
    task: Task,
    spacing: Sequence[float],
    metrics: Sequence[str] = ("dice",),
) -> dict[str, dict[str, float]]:
    """Two label maps (*S) on one grid -> region -> metric -> value, without files.

    Raises `BadData` if the shapes differ, or if a label map holds values that the task has not.
    """
    if prediction_label.shape != truth_label.shape:
        shapes = f"{prediction_label.shape}, that of the truth {truth_label.shape}"
        raise BadData(f"the shape of the prediction is {shapes}; bring both on one grid")
    scheme = Scheme.of(task)
    sides = (("the prediction", prediction_label), ("the truth", truth_label))
    tools = _built(metrics)
    if any(tool.needs for tool in tools.values()):
        needy = ", ".join(name for name, tool in tools.items() if tool.needs)
        raise BadOption(f"{needy} need probabilities; evaluate folders, or call the metric itself")
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        lying = list(pool.map(lambda side: scheme.check(side[1], side[0]), sides))

        def measured(region: str) -> dict[str, float]:
            masks = scheme.masks(region, prediction_label, truth_label, lying)
            return _values(*masks, spacing, tools, truth_label.shape)

        return dict(zip(scheme.regions, pool.map(measured, scheme.regions)))


def _built(metrics: Sequence[str]) -> dict[str, Metric]:
    if isinstance(metrics, str):
        metrics = (metrics,)
    if not metrics:
        raise BadOption(f"no metric is given; there are {', '.join(registry.names('metrics'))}")
    return {text: registry.build("metrics", text) for text in metrics}


def _values(
    prediction: Array,
    truth: Array,
    spacing: Sequence[float],
    tools: Mapping[str, Metric],
    shape: tuple[int, ...],
) -> dict[str, float]:
    """Of two masks, or two instance maps, cut from an image of `shape`."""
    masks = _mask(prediction), _mask(truth)
    found = {}
    with surface.shared(*masks, spacing, shape):
        for name, tool in tools.items():
            one, other = (prediction, truth) if tool.instances else masks
            if not tool.needs:
                found[name] = float(tool(one, other, spacing))
    return found


def _mask(drawn: Array) -> Array:
    """A mask as it is; of an instance map where there is any instance."""
    return drawn if drawn.dtype == np.bool_ else drawn > 0


def _some_compared(rows: Sequence[Row]) -> None:
    """Raises `BadData` if every case with both sides failed: then something else is wrong."""
    failed = [row for row in rows if row.status.startswith("failed: ")]
    if failed and not any(row.status == "ok" for row in rows):
        cause = failed[0].status.partition(": ")[2]
        raise BadData(f"no case could be compared; case {failed[0].case}: {cause}")


def _case(case: str, *, inputs: Inputs, tools: Mapping[str, Metric], kept: Kept) -> Finished:
    """One case: as it was kept, if none of its files changed, else compared."""
    key = kept.key(case, inputs.paths(case, maps=any(tool.needs for tool in tools.values())))
    before = kept.get(key)
    if before is not None:
        return before
    found = _compared(case, inputs, tools)
    kept.add(key, found)
    return found


def _compared(case: str, inputs: Inputs, tools: Mapping[str, Metric]) -> Finished:
    """Raises `BadData` where a metric cannot be measured on this grid."""
    compared = inputs.read(case)
    try:
        return _measured(case, compared, inputs, tools)
    except BadFile as error:  # a probability map: what it is needed for is not there
        status, notes = failing(case, str(error))
        compared = replace(compared, status=status, predicted=False, notes=notes)
        return _measured(case, compared, inputs, tools)


def _measured(
    case: str, compared: Compared, inputs: Inputs, tools: Mapping[str, Metric]
) -> Finished:
    """The rows of a case; raises `BadFile` for a probability map that cannot be read."""
    spacing = _spacing(case, compared.grid, tools)
    rows: list[Row] = []
    bins: dict[str, list[list[float]]] = {}
    for region, prediction, true in compared.masks(inputs.scheme):
        if compared.status == "ok":
            values = _values(prediction, true, spacing, tools, compared.grid.shape)
            if any(tool.needs for tool in tools.values()):
                more, bins[region] = _claims(case, region, compared, inputs, tools)
                values = {name: {**values, **more}[name] for name in tools}
        elif compared.status == "no truth":
            values = dict.fromkeys(tools, float("nan"))
        else:
            values = _worst(true, compared, spacing, tools)
        known = {"predicted_ml": compared.predicted, "true_ml": compared.known}
        volumes = {
            name: _millilitres(mask, compared.grid) if known[name] else float("nan")
            for name, mask in (("predicted_ml", prediction), ("true_ml", true))
        }
        rows += [
            Row(case, compared.patient, region, name, value, compared.status, **volumes)
            for name, value in values.items()
        ]
    return Finished(tuple(rows), _remarks(compared), bins)


def _claims(
    case: str, region: str, compared: Compared, inputs: Inputs, tools: Mapping[str, Metric]
) -> tuple[dict[str, float], list[list[float]]]:
    """Values of the metrics of probabilities in one region, and its bins."""
    true, ignored = compared.whole(region, inputs.scheme)
    path = where(inputs.predictions[case], case, region)
    values = probability(path, compared.grid, ignored)
    spacing = compared.grid.spacing
    found = {name: float(tool(values, true, spacing)) for name, tool in tools.items() if tool.needs}
    return found, counted(values, true, spacing)


def _spacing(case: str, grid: Grid, tools: Mapping[str, Metric]) -> tuple[float, ...]:
    """The grid's spacing, or of a sheared one a spacing of the same volume.

    Raises `BadData` if something measures distances on a sheared grid.
    """
    if not grid.sheared:
        return grid.spacing
    along = [name for name, tool in tools.items() if tool.distances]
    if along:
        raise BadData(
            f"case {case}: the axes of its grid are not at right angles, so {', '.join(along)} "
            "cannot be measured on it; resample both label maps to right angles, or leave out "
            "these metrics (--metrics dice)"
        )
    factor = (grid.voxel_volume / float(np.prod(grid.spacing))) ** (1 / grid.dims)
    return tuple(length * factor for length in grid.spacing)


def _worst(
    truth: Array, compared: Compared, spacing: Sequence[float], tools: Mapping[str, Metric]
) -> dict[str, float]:
    """The worst value each metric can have for this truth.

    If the truth is not known, neither is whether a metric is undefined for it: a metric without a
    bound then has infinity, which `Evaluation.of` replaces by the worst of the other cases.
    """
    if not compared.truth.size:
        return {name: tool.worst for name, tool in tools.items()}
    truth = _mask(truth)
    with surface.shared(truth, truth, spacing, compared.grid.shape):
        worst = {name: float(tool.limit(truth, spacing)) for name, tool in tools.items()}
    if compared.known:
        return worst
    return {name: tools[name].worst if np.isnan(value) else value for name, value in worst.items()}


def _millilitres(mask: Array, grid: Grid) -> float:
    return float(np.count_nonzero(mask)) * grid.voxel_volume / 1000


def _remarks(compared: Compared) -> tuple[str, ...]:
    grid, remarks = compared.grid, list(compared.notes)
    if grid.dims == 2:
        remarks.append(
            "Volumes of 2-D images are areas taken as 1 mm thick: 1 ml is 1000 mm², "
            "or 1000 pixels where the size of a pixel is not known."
        )
    return tuple(remarks)


def _absent(rows: Sequence[Row]) -> list[str]:
    said = {
        "missing": "Without a prediction, counted as the worst value of each metric",
        "no truth": "Without a truth, left out of the means",
    }
    names = {status: sorted({row.case for row in rows if row.status == status}) for status in said}
    return [
        f"{text}: {', '.join(names[status])}." for status, text in said.items() if names[status]
    ]


def _once(notes: Sequence[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))
