"""What is compared with what: cases by name, label maps on one grid, labels that regions know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oncoseg import files, results
from oncoseg.blocks import layouts
from oncoseg.blocks.extents import Extents, extents
from oncoseg.case import Array, Grid, Source, Task, Volume
from oncoseg.errors import BadData, BadFile, BadOption, OncosegError
from oncoseg.evaluate.probabilities import BESIDE, probability, where
from oncoseg.evaluate.scheme import Regions, Scheme, union
from oncoseg.evaluate.stream import streamed
from oncoseg.read import find, read_label

NOWHERE = Grid((0, 0, 0), np.eye(4))
Reading = Callable[[], Any]
Claims = Callable[[str, Grid], Array]


@dataclass(frozen=True)
class Compared:
    """One case: both label maps (*S) on `grid`, zero where not `predicted` or not `known`.

    `status` is "ok", "missing", "no truth" or "failed: " and a sentence.
    """

    patient: str
    status: str
    grid: Grid
    prediction: Array
    truth: Array
    predicted: bool = True
    known: bool = True
    notes: tuple[str, ...] = ()
    claims: Claims | None = None  # where there may be probabilities
    lying: tuple[Extents, ...] = ()  # where the values of both lie, if that is known

    def whole(self, region: str, scheme: Scheme) -> tuple[Array, Array]:
        """A region's true mask, and where voxels are to be ignored (both *S)."""
        ignored = np.zeros(self.truth.shape, dtype=bool)
        if scheme.ignore is not None:
            ignored = self.truth == scheme.ignore
        if scheme.instances:
            return self.truth > 0, ignored
        return union(self.truth, scheme.regions[region]), ignored

    def claimed(self, region: str, scheme: Scheme) -> tuple[Array, Array]:
        """A region's probability, NaN where ignored, and its true mask (both *S)."""
        true, ignored = self.whole(region, scheme)
        if self.claims is None:
            raise BadData("there are no probabilities; give them, or leave out what needs them")
        values = self.claims(region, self.grid)
        values[ignored] = np.nan
        return values, true

    def masks(self, scheme: Scheme) -> Callable[[str], tuple[Array, Array]]:
        """Region -> its predicted and its true mask, cut to the box that holds both."""
        lying = self.lying or (extents(self.prediction), extents(self.truth))
        return lambda name: scheme.masks(name, self.prediction, self.truth, lying)


@dataclass(frozen=True)
class Inputs:
    """Predictions and truths by case, before their voxels are read."""

    predictions: Mapping[str, Path]
    broken: Mapping[str, str]
    truths: Mapping[str, Source]
    scheme: Scheme
    notes: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)  # the value of each named structure

    @property
    def cases(self) -> list[str]:
        """Every case that is predicted, known or both, by name."""
        return sorted({*self.predictions, *self.broken, *self.truths})

    def only(self, cases: Sequence[str]) -> Inputs:
        """Of the cases that are named, all if none is; `BadData` for one that is on no side."""
        if gone := sorted(set(cases) - set(self.cases)):
            raise BadData(f"there is no case '{gone[0]}'; there are {_some(self.cases)}")
        wanted = set(cases or self.cases)
        return replace(
            self,
            predictions={one: path for one, path in self.predictions.items() if one in wanted},
            broken={one: cause for one, cause in self.broken.items() if one in wanted},
            truths={one: source for one, source in self.truths.items() if one in wanted},
        )

    def paths(self, case: str, *, maps: bool = False) -> dict[str, Path]:
        """Every file that a comparison depends on, by what it is; with `maps`, probabilities."""
        found: dict[str, Path] = {}
        if case in self.predictions:
            path = self.predictions[case]
            found["prediction"] = path
            if path.suffix == ".json":
                found["predicted label"] = path.with_name(_label_of(path))
            if maps:
                regions = self.scheme.regions
                found |= {f"probability {name}": where(path, case, name) for name in regions}
        if case in self.truths:
            source = self.truths[case]
            found |= {f"truth {name}": path for name, path in source.labels.items()}
            images = {name: source.images.get(name) for name in source.labels}
            found |= {f"image {name}": path for name, path in images.items() if path}
        return found

    def read(self, case: str) -> Compared:
        """Both label maps of a case; what cannot be read or compared is told by the status."""
        source = self.truths.get(case)
        predicted, failure = self._prediction(case)
        truths, unread = self._truths(case)
        patient = source.patient if source else layouts.patient_of(case)
        if predicted is not None and truths:
            truth, apart = on_grid(predicted, truths)
            if truth is not None:
                made = partial(Compared, patient, "ok", predicted.grid)
                return made(predicted.array, truth.array, claims=partial(self._claimed, case))
            unread = unread or apart
        status, notes = _status(case, failure or unread, has_truth=source is not None)
        if truths:
            empty = np.zeros(truths[0].array.shape, dtype=np.uint8)
            sides: tuple[Array, Array] = (empty, truths[0].array)
            grid = truths[0].grid
        elif predicted is not None:
            empty = np.zeros(predicted.array.shape, dtype=np.uint8)
            sides, grid = (predicted.array, empty), predicted.grid
        else:
            empty = np.zeros(NOWHERE.shape, dtype=np.uint8)
            sides, grid = (empty, empty), NOWHERE
        known, shown = bool(truths), predicted is not None and not truths
        return Compared(patient, status, grid, *sides, shown, known, notes)

    def _claimed(self, case: str, region: str, grid: Grid) -> Array:
        return probability(where(self.predictions[case], case, region), grid)

    def _prediction(self, case: str) -> tuple[Volume | None, str]:
        if case not in self.predictions:
            return None, self.broken.get(case, "")
        return self._known("prediction", *_tried(read_prediction, self.predictions[case]))

    def _truths(self, case: str) -> tuple[list[Volume], str]:
        read = _read_truths(self.truths[case], self.labels) if case in self.truths else []
        checked = [self._known("truth", *one) for one in read]
        found = [volume for volume, _ in checked if volume is not None]
        return found, next((failure for _, failure in checked if failure), "")

    def _known(self, what: str, volume: Volume | None, failure: str) -> tuple[Volume | None, str]:
        """A label map, if the regions know all its labels, or the sentence on what is wrong."""
        if volume is None:
            return None, failure
        try:
            self.scheme.check(volume.array, f"the {what} {volume.path}")
        except BadData as error:
            return None, str(error)
        return volume, ""


def gather(
    predictions: Path,
    truth: Path,
    regions: Regions | None,
    *,
    instances: bool = False,
) -> Inputs:
    """Find both sides; raises `BadData` if one is empty, or if no case is in both."""
    predicted, broken, task = _predictions(predictions)
    if not predicted and regions is None:
        raise BadData(next(iter(broken.values())))  # so nobody says what the regions are
    truths, said = _truths(truth, {*predicted, *broken})
    ignore = None if said.get("ignore") is None else int(said["ignore"])
    labels = task.labels if task is not None else said.get("labels", {})
    given = sorted({*predicted, *broken})
    if not truths.keys() & set(given):
        theirs = f"{_some(given)}, those in {truth} {_some(sorted(truths))}"
        raise BadData(f"{predictions}: no case is in both; cases here are {theirs}; rename them")
    if instances:
        truths = {case: replace(source, instances=False) for case, source in truths.items()}
        _refuse_structures(predictions, task, regions, ignore)
        scheme = Scheme.of_instances()
    elif regions is not None:
        scheme = Scheme.asked(regions, ignore, labels.values())
    elif task is not None:
        scheme = Scheme.of(task, ignore)
    else:
        scheme = _found_regions(predicted, truths, ignore, labels)
    if not scheme.regions:
        raise BadData(f"{predictions}: no label map holds a label above 0; there is no region")
    notes: tuple[str, ...] = ()
    if ignore is not None:
        notes = (f"Voxels with the label {ignore} in the truth are to be ignored: left out.",)
    return Inputs(predicted, broken, truths, scheme, notes, labels)


def _refuse_structures(
    folder: Path,
    task: Task | None,
    regions: Regions | None,
    ignore: int | None,
) -> None:
    """Raises `BadData` or `BadOption` if values are known to be structures, and not instances."""
    if task is not None:
        raise BadData(
            f"{folder}: holds label maps of structures, in which no value is an instance; "
            "give instance maps alone, or evaluate without --instances: components are instances"
        )
    if regions is not None or ignore is not None:
        raise BadOption("each value is an instance, so there are no regions or labels to ignore")


def _tried(read: Callable[[Path], Volume], path: Path) -> tuple[Volume | None, str]:
    """What a file holds, or the sentence that says why it cannot be read."""
    try:
        return read(path), ""
    except OncosegError as error:
        return None, str(error)


def read_prediction(path: Path) -> Volume:
    """The label map of a prediction, by its record or alone."""
    if path.suffix != ".json":
        return read_label(path)
    prediction, record = results.load(path)
    return Volume(prediction.label, prediction.grid, path.with_name(record["label"]))


def _predictions(folder: Path) -> tuple[dict[str, Path], dict[str, str], Task | None]:
    """Case -> record or label map, case -> what is wrong with its record, and the task."""
    if not folder.is_dir():
        raise BadData(f"{folder}: is no folder; give the one that 'oncoseg predict' wrote")
    found: dict[str, Path] = {}
    broken: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    for path in sorted(folder.glob("*.json")):
        case, task, failure = record_of(path)
        if task is not None:
            found[case], tasks[case] = path, task
        elif failure and path.with_name(f"{case}.nii.gz").exists():
            broken[case] = failure
    if found:
        return found, broken, _one_task(folder, tasks)
    if broken:
        return {}, broken, None
    maps = layouts.by_stem(layouts.scans(folder))
    maps = {
        name: path
        for name, path in maps.items()
        if BESIDE.split(name)[0] not in maps.keys() - {name}
    }
    if not maps:
        raise BadData(f"{folder}: holds no prediction; give the folder 'oncoseg predict' wrote")
    return maps, {}, None


def record_of(path: Path) -> tuple[str, Task | None, str]:
    """Case and task of a record, or what is wrong with it; neither for other JSON files."""
    try:
        record = files.read_json(path)
        if not isinstance(record, dict) or record.get("format") != results.FORMAT:
            return path.stem, None, ""
        return str(record["case"]), Task.from_dict(record["task"]), ""
    except BadFile as error:
        return path.stem, None, str(error)
    except (KeyError, TypeError, ValueError, AttributeError):
        return path.stem, None, f"{path}: is not a whole record; run 'oncoseg predict' again"


def _label_of(record: Path) -> str:
    """The name of the label map beside a record; of the record itself, if it does not say."""
    try:
        return files.plain_name(str(files.read_json(record)["label"]))
    except (OncosegError, KeyError, TypeError):
        return record.name


def _one_task(folder: Path, tasks: Mapping[str, Task]) -> Task:
    (first, task), *others = tasks.items()
    for case, other in others:
        if other.labels != task.labels or other.regions != task.regions:
            both = f"cases {first} and {case} have other labels or regions"
            raise BadData(f"{folder}: {both}; evaluate the predictions of one model at a time")
    return task


def _read_truths(source: Source, labels: Mapping[str, int]) -> list[tuple[Volume | None, str]]:
    """The label maps of a case; named structures of DICOM by their values."""
    read = partial(read_label, labels=labels or None, instances=source.instances)
    return [
        _tried(partial(read, image=source.images.get(name)), path)
        for name, path in source.labels.items()
    ]


def _truths(folder: Path, predicted: set[str]) -> tuple[dict[str, Source], Mapping[str, Any]]:
    """Case -> source with label maps, and what their data set says of itself."""
    try:
        found = find(folder)
    except BadFile:
        raise
    except BadData:
        plain = _label_maps(folder, predicted)
        if not plain:
            raise
        return plain, {}
    labelled = {source.case: source for source in found.sources if source.labels}
    if labelled:
        return labelled, found.description
    plain = _label_maps(folder, predicted)
    if not plain:
        raise BadData(f"{folder}: holds no label map; give a data set with labels")
    return plain, {}


def _label_maps(folder: Path, predicted: set[str]) -> dict[str, Source]:
    """A folder of label maps: `case.nii.gz`, or `case_seg.nii.gz` where a prediction says so."""
    found = {}
    for name, path in layouts.by_stem(layouts.scans(folder)).items():
        prefix = layouts.parse(name).prefix
        case = prefix if name not in predicted and prefix in predicted else name
        if case in found:
            raise BadData(f"{path}: a second label map of case {case}; remove one of the two")
        found[case] = Source(case, layouts.patient_of(case), {}, {"label": path})
    return found


def _found_regions(
    predicted: Mapping[str, Path],
    truths: Mapping[str, Source],
    ignore: int | None,
    labels: Mapping[str, int],
) -> Scheme:
    """A region for each label value in any file that can be read, named by its number."""
    one_side: list[Reading] = [partial(_tried, read_label, path) for path in predicted.values()]
    other: list[Reading] = [partial(_read_truths, source, labels) for source in truths.values()]
    failures: list[str] = []

    def held(read: Reading) -> set[int]:
        found = read()
        both = found if isinstance(found, list) else [found]
        # A file that cannot be read is told later, as the status of its case.
        failures.extend(failure for _, failure in both if failure)
        return {value for volume, _ in both if volume for value in extents(volume.array)}

    values = set().union(*streamed(held, [*one_side, *other], title="labels", unit="file"))
    if failures and not values:
        raise BadData(f"no label is known; {min(failures)}")
    return Scheme.given({str(value): (value,) for value in sorted(values - {ignore})}, ignore)


def on_grid(predicted: Volume, truths: Sequence[Volume]) -> tuple[Volume | None, str]:
    """The truth that was drawn on the prediction's grid, or the sentence that there is none."""
    for truth in truths:
        if truth.grid.same_as(predicted.grid):
            return truth, ""
    difference = _difference(predicted.grid, truths[0].grid)
    return None, (
        f"the prediction {predicted.path} and its truth {truths[0].path} are on "
        f"different grids: {difference}; bring both on one grid, nothing is resampled here"
    )


def _difference(here: Grid, there: Grid) -> str:
    if here.shape != there.shape:
        return f"{_size(here.shape)} and {_size(there.shape)} voxels"
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in here.shape])).reshape(here.dims, -1)
    apart = (here.affine - there.affine) @ np.vstack([corners, np.ones(corners.shape[1])])
    return f"their corners are up to {np.linalg.norm(apart, axis=0).max():.4g} mm apart"


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _status(case: str, failure: str, *, has_truth: bool) -> tuple[str, tuple[str, ...]]:
    """The status of a case that cannot be compared, and what to say of what failed in it."""
    if not has_truth:
        return "no truth", (f"Case {case} failed: {failure}.",) if failure else ()
    if not failure:
        return "missing", ()
    return failing(case, failure)


def failing(case: str, failure: str) -> tuple[str, tuple[str, ...]]:
    """Status and note of a case that counts as the worst."""
    note = f"Case {case} failed and counts as the worst value of each metric: {failure}."
    return f"failed: {failure}", (note,)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")
