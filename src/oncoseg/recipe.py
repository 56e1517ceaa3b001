"""Recipes: published pipelines that are names and options alone, a file of stages run in order."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from oncoseg import registry
from oncoseg.errors import BadData, BadFile, BadOption, BadRun, unknown
from oncoseg.registry import Card, Entry
from oncoseg.run import Run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = registry.HERE / "recipes"
PREVIOUS = "previous"
FIXED = {"to", "plan"}  # follow from what the user gives
WHERE = {"device", "workers", "tensorboard"}  # may differ when a recipe is gone on with
REMEDY = "correct the recipe"


@dataclass(frozen=True)
class Recipe:
    """Stages in order, each a table of `Run` fields.

    `data` of a stage is a word for a data set that the user names, `start = "previous"` the model
    of the stage before. With `grid`, the stages of other data take spacing, patch and strides from
    the plan of that data, so that one network fits all stages.
    """

    path: Path
    summary: str
    card: Card
    stages: tuple[Mapping[str, Any], ...]
    grid: str = ""

    @property
    def name(self) -> str:
        """Its file's name."""
        return self.path.stem

    @property
    def data(self) -> list[str]:
        """The words for data sets, in order."""
        return list(dict.fromkeys(str(stage["data"]) for stage in self.stages))

    @property
    def entry(self) -> Entry:
        """As the catalogue lists parts; it needs the data sets."""
        words = tuple(self.data)
        return Entry("recipes", self.name, self.summary, self.card, (), self.path, words)


def names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read_recipe(name: str) -> Recipe:
    """A recipe by its name, or from a file of one's own (`.toml`); unknown keys are refused."""
    path = Path(name) if name.endswith(".toml") else HERE / f"{name}.toml"
    if not path.exists() and not name.endswith(".toml"):
        raise unknown("recipe", name, names())
    try:
        text = path.read_text(encoding="utf-8")
        common = tomllib.loads(text)
        card = Card(**common.pop("card"))
        stages = [dict(stage) for stage in common.pop("stages")]
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise BadFile(path, f"cannot be read ({error})", "give a recipe in TOML") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadFile(path, f"has no whole card and stages ({error})", REMEDY) from error
    grid = str(common.pop("grid", ""))
    whole = tuple({**common, **stage} for stage in stages)
    _check(path, whole, grid)
    first = text.splitlines()[0]
    return Recipe(path, first.lstrip("# ") if first.startswith("#") else "", card, whole, grid)


def _check(path: Path, stages: tuple[Mapping[str, Any], ...], grid: str) -> None:
    """Refuse what a stage cannot say."""
    known = {field.name for field in fields(Run)} - FIXED
    for number, stage in enumerate(stages, start=1):
        for key in stage.keys() - known:
            raise BadFile(path, f"has the unknown key '{key}' in stage {number}", REMEDY)
        if not isinstance(stage.get("data"), str):
            raise BadFile(path, f"names no data in stage {number}", REMEDY)
        if stage.get("start") == PREVIOUS and number == 1:
            raise BadFile(path, "starts its first stage from a previous one", REMEDY)
    if not stages or (grid and grid not in {stage["data"] for stage in stages}):
        raise BadFile(path, "has no stages" if not stages else f"has no data '{grid}'", REMEDY)


def follow(
    recipe: Recipe,
    data: Mapping[str, str],
    to: str,
    changes: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
) -> Path:
    """Run the stages in order; the last writes `to`, the others models in `<name>.stages/`.

    `data` gives the folder of each word; `changes` are fields of all runs, or `word.field` of those
    on one data set. With `resume`, finished stages are not repeated and an unfinished one goes on.
    """
    from oncoseg.train import resolved, train  # noqa: PLC0415 - the catalogue needs no torch

    runs = [resolved(run) for run in planned(recipe, data, to, changes or {})]
    _refuse(runs, resume=resume)
    on = _gridded(recipe, runs)
    for run in on:
        if not Path(run.to).exists():
            train(run, resume=True)
    return Path(to)


def planned(
    recipe: Recipe, data: Mapping[str, str], to: str, changes: Mapping[str, Any]
) -> list[Run]:
    """The runs of a recipe, checked before any of them starts."""
    for word in recipe.data:
        if word not in data:
            raise BadRun(f"{recipe.name} needs the data '{word}'; give --data {word}=FOLDER")
    for word in data.keys() - set(recipe.data):
        raise BadRun(f"{recipe.name} has no data '{word}'; it has {', '.join(recipe.data)}")
    _check_changes(recipe, changes)
    target, runs = Path(to), list[Run]()
    folder = target.with_name(target.stem + ".stages")
    for number, stage in enumerate(recipe.stages, start=1):
        word, last = str(stage["data"]), number == len(recipe.stages)
        own = {key.partition(".")[2]: v for key, v in changes.items() if key.startswith(f"{word}.")}
        common = {key: value for key, value in changes.items() if "." not in key}
        model = target if last else folder / f"{number}_{word}.onco"
        values = {**stage, **common, **own, "data": data[word], "to": str(model)}
        if values.get("start") == PREVIOUS:
            values["start"] = runs[-1].to
        runs.append(_run(recipe, values))
    for run in runs:
        run.check()
    return runs


def _check_changes(recipe: Recipe, changes: Mapping[str, Any]) -> None:
    known = sorted({field.name for field in fields(Run)} - FIXED - {"data"})
    for key in changes:
        word, _, name = key.rpartition(".")
        if name not in known or word not in ("", *recipe.data):
            words = ", ".join(recipe.data)
            raise BadOption(
                f"'{key}' is not to be set; it is FIELD or DATA.FIELD, with DATA one of {words} "
                f"and FIELD one of {', '.join(known)}"
            )


def _run(recipe: Recipe, values: Mapping[str, Any]) -> Run:
    """A run of these values; steps and minutes exclude one another as on the command line."""
    listed: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
    }
    if listed.get("steps"):
        listed["minutes"] = 0.0
    for field, like in vars(Run("", "")).items():
        kind = type(like)
        value = listed.get(field, like)
        fits = type(value) in (int, float) if kind is float else type(value) is kind
        if not fits:
            raise BadOption(f"{recipe.name}: {field} is {value!r}, which is no {kind.__name__}")
    return Run(**listed)


def _refuse(runs: list[Run], *, resume: bool) -> None:
    """Finished stages must be those asked for, and stand before the unfinished ones."""
    open_stage = ""
    for run in runs:
        begun = run.folder / "run.toml"
        if not Path(run.to).exists():
            open_stage = open_stage or run.to
        elif open_stage:
            raise BadRun(f"{run.to} was made from another {open_stage} than there is; remove it")
        if (Path(run.to).exists() or begun.exists()) and not resume:
            raise BadRun(f"{run.to} is begun; go on with --resume, or write to another file")
        if begun.exists():
            was = Run.read(begun, **{name: getattr(run, name) for name in (*WHERE, "plan")})
            changed = [name for name, value in vars(was).items() if value != getattr(run, name)]
            if changed:
                raise BadRun(f"{run.to} was begun with another {changed[0]}; write to another file")


def _gridded(recipe: Recipe, runs: list[Run]) -> list[Run]:
    """The runs with the plans that put them on the grid of the recipe's data, if it says one."""
    if not recipe.grid:
        return runs
    from oncoseg.prepare import Plan  # noqa: PLC0415
    from oncoseg.train import prepared  # noqa: PLC0415

    main = next(run for run, stage in zip(runs, recipe.stages) if stage["data"] == recipe.grid)
    grid = Plan.read(prepared(main) / "plan.json")
    return [run if run.data == main.data else _on_grid(run, grid) for run in runs]


def _on_grid(run: Run, grid: Any) -> Run:
    """The run by its own plan, with another's spacing, patch, strides and batch."""
    from oncoseg.prepare import Plan, define_task, fingerprint  # noqa: PLC0415
    from oncoseg.prepare.plan import MOST, make_plan  # noqa: PLC0415
    from oncoseg.read import find  # noqa: PLC0415

    data, path = Path(run.data), run.folder / "plan.json"
    task = grid.task
    if (data / "plan.json").exists():
        its = Plan.read(data / "plan.json").task
        if (its.spacing, its.strides, its.patch) != (task.spacing, task.strides, task.patch):
            raise BadRun(f"{data} was prepared on another grid; give its scans instead")
        return run
    if path.exists():
        return replace(run, plan=str(path))
    found = find(data)
    bare = not any(source.labels for source in found.sources)
    labels = run.labels or found.description.get("labels") or ({"target": 1} if bare else {})
    words = labels, run.regions, run.modalities
    own = define_task(data, found.sources, found.description, *words)
    made = make_plan(own, fingerprint(found.sources, own), voxels=run.voxels or MOST)
    if made.task.dims != task.dims:
        raise BadData(f"{data} is {made.task.dims}-D and the grid to share is {task.dims}-D")
    same = replace(made.task, spacing=task.spacing, patch=task.patch, strides=task.strides)
    replace(made, task=same, batch=grid.batch).write(path)
    return replace(run, plan=str(path))


def stages_of(recipe: Recipe) -> list[str]:
    """The stages as lines for a reader."""
    return [
        f"{number}. {', '.join(f'{key}={value}' for key, value in stage.items())}"
        for number, stage in enumerate(recipe.stages, start=1)
    ]
