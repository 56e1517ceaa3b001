"""Evaluate: predictions against the truth, a value for each case, region and metric, none dropped.

Cases that are missing or broken count as the worst there is, so no mean improves by losing them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import registry
from oncoseg.blocks import surface
from oncoseg.case import Array, Grid
from oncoseg.errors import BadData, BadFile, BadOption
from oncoseg.evaluate.given import Parts, Side, is_path, opened
from oncoseg.evaluate.inputs import Compared, Inputs, failing, gather
from oncoseg.evaluate.kept import Finished, Kept
from oncoseg.evaluate.probabilities import all_there, counted, reliability
from oncoseg.evaluate.scheme import Regions, Scheme
from oncoseg.evaluate.stream import THREADS, streamed
from oncoseg.evaluate.table import UNDEFINED, Evaluation, Row
from oncoseg.parts import Metric
from oncoseg.verb import called

__all__ = ["Evaluation", "Row", "evaluate"]

METRICS = ("dice", "hd95", "nsd", "volume_difference", "relative_volume_difference")


def evaluate(
    predictions: Side,
    truth: Side,
    *,
    spacing: Sequence[float] | None = None,
    metrics: Sequence[str] = METRICS,
    regions: Regions | None = None,
    samples: int = 2000,
    seed: int = 0,
    to: Path | None = None,
    instances: bool = False,
    cases: Sequence[str] = (),
) -> Evaluation:
    """Compare predictions with their truth: two folders, two files or two arrays (*S).

    Folders: `predictions` holds what 'oncoseg predict' wrote, whose records say what the regions
    are, or label maps alone. `truth` is a data set in any layout or a folder of label maps named by
    case; of `cases`, if any are named, those alone. Files: a label map, a record or one region's
    probability, and a label map. Arrays: two masks (bool), two label maps (whole numbers), or the
    probability (0 to 1, float) of a region and its mask; or such a mask or probability for each
    region, by name. `spacing` is that of arrays, in mm an axis; `regions` are the label values of
    each, or the task that has them: without it each value is a region. With `instances` each value
    but 0 of a label map is one instance, on both sides: metrics that know instances compare those,
    the others all of them as one mask.

    Intervals are 95 % percentiles of `samples` bootstrap means over patients. With `to`, the table
    is written to that folder, where compared cases of folders are kept too: a run that was killed
    goes on from there.

    A case of a folder counts as the worst value of each metric if it has no prediction, a file that
    cannot be read, a prediction on another grid than its truth, or labels that no region knows.
    Where axes are not at right angles, distances are undefined. Raises `BadData` if no case is in
    both folders or no truth could be read, and for two files or arrays that cannot be compared.
    """
    if samples < 0:
        raise BadOption(f"'samples' takes a whole number, 0 or more, not {samples}")
    tools = _built(metrics)
    if all(is_path(side) and Path(str(side)).is_dir() for side in (predictions, truth)):
        if spacing is not None:
            raise BadOption("files say their own spacing; leave out 'spacing'")
        folders = Path(str(predictions)), Path(str(truth))
        finished, notes = _folders(*folders, regions, tools, to, instances=instances, cases=cases)
    else:
        if cases:
            raise BadOption("'cases' are those of two folders; leave it out for files or arrays")
        one = opened(predictions, truth, spacing, regions, instances=instances)
        finished, notes = _pair(*one, tools), ()
    return _summed(finished, notes, tools, samples=samples, seed=seed, to=to)


def _folders(
    predictions: Path,
    truth: Path,
    regions: Regions | None,
    tools: Mapping[str, Metric],
    to: Path | None,
    *,
    instances: bool,
    cases: Sequence[str],
) -> tuple[Iterable[Finished], tuple[str, ...]]:
    """Every case of two folders, as it is finished, and what is to be said of all."""
    inputs = gather(predictions, truth, regions, instances=instances).only(cases)
    all_there(inputs.predictions, list(inputs.scheme.regions), tools)
    asked = [
        instances,
        list(tools),
        dict(inputs.scheme.regions),
        inputs.scheme.ignore,
        dict(inputs.labels),
    ]
    kept = Kept(None if to is None else Path(to), asked)
    compare = partial(_case, inputs=inputs, tools=tools, kept=kept)
    return streamed(compare, inputs.cases, title="evaluate"), inputs.notes


def _pair(case: str, parts: Parts, tools: Mapping[str, Metric]) -> Iterable[Finished]:
    """The regions of one pair, over all threads."""
    needy = [name for name, tool in tools.items() if tool.needs]
    if needy and any(compared.claims is None for _, compared in parts):
        raise BadOption(
            f"{', '.join(needy)} need probabilities; give floats from 0 to 1 for the prediction, "
            "by region if there are several"
        )
    if _unsized(parts[0][1].grid):
        sized = [name for name, tool in tools.items() if _sized(name, tool)]
        if sized:
            raise BadOption(
                f"{', '.join(sized)} need the size of voxels; give spacing in mm an axis, as "
                "spacing=(1, 1, 2.5), or leave out these metrics"
            )
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        return [
            _measured(case, compared, scheme, tools, over=pool.map) for scheme, compared in parts
        ]


def _sized(name: str, tool: Metric) -> bool:
    """Whether a value depends on the size of voxels: by a length, a volume, or an option of one."""
    chosen = registry.chosen("metrics", name)
    lengths = [value for key, value in chosen.items() if key.endswith(("_mm", "_mm3", "_ml"))]
    return tool.distances or tool.unit in ("mm", "ml") or any(lengths)


def _summed(
    finished: Iterable[Finished],
    said: tuple[str, ...],
    tools: Mapping[str, Metric],
    *,
    samples: int,
    seed: int,
    to: Path | None,
) -> Evaluation:
    rows: list[Row] = []
    notes = list(said)
    bins: dict[str, Array] = {}
    for one in finished:
        rows += one.rows
        notes += one.notes
        for region, table in one.bins.items():
            bins[region] = bins.get(region, 0) + np.array(table)
    _some_known(rows)
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


def _some_known(rows: Sequence[Row]) -> None:
    """Raises `BadData` if no truth of any compared case is known: then nothing can be said."""
    failed = [row for row in rows if row.status.startswith("failed: ")]
    compared = any(row.status.startswith(("ok", UNDEFINED)) for row in rows)
    if failed and not compared and all(math.isnan(row.true_ml) for row in failed):
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
    compared = inputs.read(case)
    try:
        return _measured(case, compared, inputs.scheme, tools)
    except BadFile as error:  # a probability map: what it is needed for is not there
        status, notes = failing(case, str(error))
        compared = replace(compared, status=status, predicted=False, notes=notes)
        return _measured(case, compared, inputs.scheme, tools)


def _measured(
    case: str,
    compared: Compared,
    scheme: Scheme,
    tools: Mapping[str, Metric],
    over: Callable[..., Iterable[Any]] = map,
) -> Finished:
    """The rows of a case; raises `BadFile` for a probability map that cannot be read."""
    upright = {
        name: tool for name, tool in tools.items() if not (tool.distances and compared.grid.sheared)
    }
    lost = [name for name in tools if name not in upright]
    sheared = f"on a grid whose axes are not at right angles {', '.join(lost)} cannot be measured"
    masks = compared.masks(scheme)

    def region_rows(region: str) -> tuple[list[Row], list[list[float]]]:
        prediction, true = masks(region)
        values, bins = _region(region, prediction, true, compared, scheme, upright)
        known = {"predicted_ml": compared.predicted, "true_ml": compared.known}
        volumes = {
            name: _millilitres(mask, compared.grid) if known[name] else float("nan")
            for name, mask in (("predicted_ml", prediction), ("true_ml", true))
        }
        undefined = f"{UNDEFINED}: {sheared}" if compared.status == "ok" else compared.status
        return [
            Row(
                case,
                compared.patient,
                region,
                name,
                values.get(name, float("nan")),
                compared.status if name in values else undefined,
                **volumes,
            )
            for name in tools
        ], bins

    found = dict(zip(scheme.regions, over(region_rows, scheme.regions)))
    notes = _remarks(compared)
    if lost:
        remedy = "resample both label maps to right angles, or leave out these metrics"
        notes = (*notes, f"Case {case}: {sheared} and is undefined; {remedy}.")
    rows = tuple(row for rows, _ in found.values() for row in rows)
    return Finished(rows, notes, {region: bins for region, (_, bins) in found.items() if bins})


def _region(
    region: str,
    prediction: Array,
    true: Array,
    compared: Compared,
    scheme: Scheme,
    tools: Mapping[str, Metric],
) -> tuple[dict[str, float], list[list[float]]]:
    """The values of one region, and its bins where there are probabilities."""
    spacing = _spacing(compared.grid)
    if compared.status == "no truth":
        return dict.fromkeys(tools, float("nan")), []
    if compared.status != "ok":
        return _worst(true, compared, spacing, tools), []
    values = _values(prediction, true, spacing, tools, compared.grid.shape)
    if len(values) == len(tools):
        return values, []
    claimed = compared.claimed(region, scheme)
    more = {name: float(tool(*claimed, spacing)) for name, tool in tools.items() if tool.needs}
    return {**values, **more}, counted(*claimed, spacing)


def _spacing(grid: Grid) -> tuple[float, ...]:
    """The grid's spacing: 1 where it is not known, of a sheared one that of the same volume."""
    if _unsized(grid):
        return (1.0,) * grid.dims
    if not grid.sheared:
        return grid.spacing
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
    if _unsized(grid):
        return float("nan")
    return float(np.count_nonzero(mask)) * grid.voxel_volume / 1000


def _unsized(grid: Grid) -> bool:
    """Whether the size of its voxels is not known."""
    return bool(np.isnan(grid.spacing).any())


def _remarks(compared: Compared) -> tuple[str, ...]:
    grid, remarks = compared.grid, list(compared.notes)
    if grid.dims == 2 and not _unsized(grid):
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


called(__name__)
