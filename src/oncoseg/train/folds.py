"""Cross-validation by one command: a model a fold to judge by, then one of all cases to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncoseg import files, registry
from oncoseg.errors import BadData, BadFile, BadRun
from oncoseg.model import open_model, taught
from oncoseg.prepare import held_out, open_store
from oncoseg.run import NONE, Run
from oncoseg.train import page
from oncoseg.train.spread import by_region, recorded

RECORD, LESSONS = "crossvalidation.json", "lessons.json"
FREE = ("device", "workers", "tensorboard", "card", "name")  # may differ when it goes on


def each_fold(run: Run, *, resume: bool = False, cluster: str = "") -> Path:
    """Train a model a fold, judge each on the cases it never saw, then train one on all cases.

    That last one is written to `run.to`, with the Dice of all cases by models that never saw them,
    and with post-hoc steps that learned from what those made of these cases: an ensemble of the
    folds might gain a little, but each scan would take as many times longer. The folds lie in
    `<name>.run/folds/`, what they say in `<name>.run/crossvalidation.json`. Each training gets the
    minutes or steps of the run. With `resume`, folds that are finished stay. The address of a Ray
    `cluster` trains the folds there, at once.
    """
    from oncoseg.train.ranks import alone  # noqa: PLC0415 - needs torch
    from oncoseg.train.several import several  # noqa: PLC0415 - needs torch

    alone("--folds")
    run.check()
    folder = run.folder / "folds"
    begun = [place for place in (folder, run.folder) if (place / "run.toml").exists()]
    if begun and not resume:
        raise BadRun(f"{run.folder} already holds a run; go on with --resume, or train elsewhere")
    _refuse_others(run, folder / "run.toml")
    run.write(folder / "run.toml")
    ((_, (run, store)),) = several(_ready, {"preparing": (run, resume)}, run, cluster)
    cases = open_store(store)
    patients = {case.id: case.patient for case in cases}
    for fold in range(run.folds):  # before hours of work, not after
        held_out(cases, run.folds, fold, by=run.apart)
    ones = [replace(run, to=str(folder / f"fold_{n}.onco"), fold=n) for n in range(run.folds)]
    left = {f"fold {one.fold}": (one, store) for one in ones if not Path(one.to).exists()}
    for _ in several(_trained, left, run, cluster):
        page.write(run.folder)
    records = [_judged(one) for one in ones]
    files.write_json(run.folder / RECORD, together(records, patients))
    card = {**in_card(run.folder), **(files.read_json(Path(run.card)) if run.card else {})}
    said = files.write_json(run.folder / "card.json", card)
    steps = lessons(ones)
    final = replace(run, folds=1, fold=0, card=str(said), posthoc=NONE)
    ((_, model),) = several(_trained, {"the model of all cases": (final, store)}, run, cluster)
    return taught(open_model(model), steps, Path(model)) if steps else Path(model)


def _ready(run: Run, resume: bool) -> tuple[Run, Path]:
    """The run as the machine that prepares its data can train it, and the store."""
    from oncoseg.train import prepared, resolved  # noqa: PLC0415 - which comes here itself

    run = resolved(run)
    return run, prepared(run, again=not resume)


def _trained(run: Run, store: Path) -> Path:
    """One training, gone on with where it was begun."""
    from oncoseg.train import train  # noqa: PLC0415 - which comes here itself

    return train(run, resume=True, store=store)


def _judged(run: Run) -> dict[str, Any]:
    """What a finished fold says of the cases it never saw."""
    path = run.folder / "validation.json"
    found: dict[str, Any] = files.read_json(path)
    known = all("rows" in row for row in found["by_modalities"].values())
    if not known or not (run.folder / LESSONS).exists():
        cause = "is of an earlier version, which kept less of each case"
        again = f"remove {run.to} and go on with --resume, which validates it again"
        raise BadFile(path, cause, again)
    return found


def lessons(folds: Sequence[Run]) -> list[dict[str, Any]]:
    """A record a post-hoc step, which learned from the held-out cases of all finished folds.

    Each lesson says of which fold's model it is: of another model it promises less.
    """
    found: dict[str, list[Any]] = {}
    for run in folds:
        for text, some in files.read_json(run.folder / LESSONS).items():
            found.setdefault(text, []).extend({**one, "fold": run.fold} for one in some)
    records = []
    for text, some in found.items():
        step = registry.build("posthoc", text)
        if some:
            step.fit(some)
        if step.state or not step.learns:
            records.append({"posthoc": text, "state": step.state})
    return records


def _refuse_others(run: Run, begun: Path) -> None:
    """Folds of other runs would be taken for those of this one."""
    if not begun.exists():
        return
    was = Run.read(begun)
    asked = {name: value for name, value in vars(run).items() if name not in FREE}
    changed = [name for name, value in asked.items() if value != getattr(was, name)]
    if changed:
        name = changed[0]
        differs = f"{getattr(was, name) or 'not given'}, now it is {asked[name] or 'not given'}"
        raise BadRun(f"{run.to} was begun with {name} {differs}; resume with the same")


def together(records: Sequence[Mapping[str, Any]], patients: Mapping[str, str]) -> dict[str, Any]:
    """Dice a region over all cases of all folds with intervals over patients, and of subsets."""
    cases = {
        name: {"fold": fold, **row}
        for fold, record in enumerate(records)
        for name, row in record["cases"].items()
    }
    regions = list(dict.fromkeys(name for record in records for name in record["dice"]))
    dice = {
        name: {
            "mean": round(one.mean, 4),
            "interval": [round(one.low, 4), round(one.high, 4)],
            "cases": one.cases,
        }
        for name, one in by_region(cases, patients, regions).items()
    }
    whose = {name: patients[name] for name in cases}
    by_modalities = pooled(records, whose, regions)
    return {"dice": dice, "cases": cases, "by_modalities": by_modalities, "patients": whose}


def pooled(
    records: Sequence[Mapping[str, Any]], patients: Mapping[str, str], regions: Sequence[str]
) -> dict[str, Any]:
    """Dice by modalities over all cases of all folds with intervals over patients."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for name, row in record["by_modalities"].items():
            found.setdefault(name, {}).update(row["rows"])
    order = sorted(found, key=lambda name: -name.count("+"))
    return {name: recorded(found[name], patients, regions) for name in order}


def in_card(folder: Path) -> dict[str, Any]:
    """What the card of a model says of the cross-validation in its run's folder."""
    from oncoseg.train.validation import in_card as subsets  # noqa: PLC0415 - needs torch

    found = files.read_json(folder / RECORD)
    means = {name: row["mean"] for name, row in found["dice"].items()}
    folds = 1 + max(row["fold"] for row in found["cases"].values())
    figures = {"dice": means, "cases": len(found["cases"]), "folds": folds}
    return {"validation": figures, **subsets(found["by_modalities"])}


def table(run: Run) -> str:
    """The cross-validation of a finished run, for people: regions, then the worst cases."""
    found = files.read_json(run.folder / RECORD)
    if not found["cases"]:
        raise BadData(f"{run.folder / RECORD}: holds no case")
    regions = list(found["dice"])
    width = max(map(len, [*found["cases"], "all (95 % interval)"]))
    rows = [f"{'Dice by models that never saw the case':<{width}}"]
    rows.append(f"{'case':<{width}}  fold  " + "  ".join(f"{name:>14}" for name in regions))
    for name, row in found["cases"].items():
        cells = [f"{row[one]:.3f}" if one in row else "-" for one in regions]
        rows.append(f"{name:<{width}}  {row['fold']:>4}  " + "  ".join(f"{c:>14}" for c in cells))
    spans = [
        f"{row['mean']:.3f} {row['interval'][0]:.2f}-{row['interval'][1]:.2f}"
        for row in found["dice"].values()
    ]
    rows.append(f"{'all (95 % interval)':<{width}}        " + "  ".join(f"{c:>14}" for c in spans))
    return "\n".join(rows)
