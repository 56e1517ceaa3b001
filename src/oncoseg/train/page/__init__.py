"""The page of a training: one HTML file that needs nothing else, drawn from its run's folder.

The data's path: while it trains, `watch` keeps in `training.json` what no other file of the run
says, with `examples` of held-out cases. `history` reads the folder, `told` says in a sentence what
has come of it, `curves` draws it, and all of it stands on the page that is written here.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from oncoseg import files
from oncoseg.blocks.document import card, document, footer, header, legend, section
from oncoseg.compare import page as comparison
from oncoseg.compare.markup import tabled
from oncoseg.report import slices
from oncoseg.report.pictures import colours
from oncoseg.train.page import curves, history
from oncoseg.train.page.curves import Clock, Curve
from oncoseg.train.page.history import History, Look
from oncoseg.train.page.told import answer, state
from oncoseg.train.spread import Rows, Spread

NAME = "training.html"
DICE = "Dice is twice the overlap of prediction and truth over the sum of both: 1 is equal."
SHOWN = 20  # pictures of a case
REFRESH = 60  # seconds after which a page of a running training is loaded again
LOSSES = ("#1f5f8b", "#b4540a", "#5b6875", "#7A5195", "#009E73")
CSS = Path(__file__).with_name("page.css")


def write(folder: Path) -> Path:
    """Draw the page of a run's folder anew, atomically."""
    return files.write_text(folder / NAME, page(history.read(folder)))


def page(story: History) -> str:
    """The whole page."""
    body = [
        _header(story),
        _answer(story),
        _folds(story, "folds", "fold"),
        _folds(story, "seeds", "seed"),
        _cards(story),
        _plots(story),
        _examples(story),
        _final(story),
        _facts(story),
        _numbers(story),
        footer(DICE),
    ]
    again = "" if story.finished else f'<meta http-equiv="refresh" content="{REFRESH}">\n'
    title = f"{story.folder.stem} - training"
    return document(title, body, comparison.CSS, CSS, head=again)


def _header(story: History) -> str:
    date = dt.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    told = story.kept.get("trained", {})
    facts = [date, *(told[name] for name in ("Data", "Network", "Parameters") if name in told)]
    first = f'<span class="state">{escape(state(story))}</span>  ·  '
    return header("oncoseg training", facts, story.folder.stem, first)


def _answer(story: History) -> str:
    first, *rest = answer(story)
    told = "".join(f"<span>{escape(text)} </span>" for text in rest)
    share = min(100, round(100 * story.done))
    bar = "" if story.finished else f'<div class="bar"><i style="width:{share}%"></i></div>'
    broke = [line for line in story.lines if "broke" in line]
    alert = "".join(
        f"<p>The loss was no longer a number at step {line['broke']}: training went back to step "
        f"{line['step']} and goes on with a learning rate of {line['rate']:.3g} at most.</p>"
        for line in broke
    )
    alert = f'<div class="alert">{alert}</div>' if alert else ""
    return f'<div class="choice"><b class="first">{escape(first)}</b>{told}{bar}</div>{alert}'


def _folds(story: History, folder: str, word: str) -> str:
    """The trainings that belong to this one, each with a link to its page."""
    runs = sorted((story.folder / folder).glob(f"{word}_*.run"), key=_number)
    if not runs:
        return ""
    others = [history.read(path) for path in runs]
    if word == "seed":
        others = [story, *others]
    regions = next((one.regions for one in others if one.regions), [])
    rows = []
    for one in others:
        name = "this one" if one is story else f"{word} {_number(one.folder)}"
        link = f"./{folder}/{one.folder.name}/{NAME}"
        there = one is not story and (one.folder / NAME).exists()
        title = f'<a href="{escape(link)}">{name}</a>' if there else name
        judged = one.final.get("cases") or (one.looks[-1].rows if one.looks else {})
        cells = [_cell(one.spread(judged, region)) for region in regions]
        rows.append([title, escape(state(one)), *cells, str(len(judged))])
    rows += _pooled(story, regions)
    text = {
        "fold": "Each fold is a training that never saw the cases it is judged on.",
        "seed": "The same training with other seeds: what differs between them is chance.",
    }[word]
    head = [word.capitalize(), "State", *map(escape, regions), "Cases"]
    return section(f"{word.capitalize()}s", text, tabled(head, rows))


def _number(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else -1


def _pooled(story: History, regions: Sequence[str]) -> list[list[str]]:
    """The row of all folds together, when they are finished."""
    found = history.record(story.folder / "crossvalidation.json").get("dice", {})
    if not found:
        return []
    cells = [
        _cell(Spread(row["mean"], *_ends(row["interval"]), row["cases"])) if row else "-"
        for row in (found.get(region) for region in regions)
    ]
    cases = max(row["cases"] for row in found.values())
    return [["<b>all</b>", "by models that never saw them", *cells, str(cases)]]


def _ends(pair: Sequence[float | None]) -> tuple[float, float]:
    low, high = (math.nan if end is None else float(end) for end in pair)
    return low, high


def _cards(story: History) -> str:
    """Dice of each region now."""
    rows = story.final.get("cases") or (story.looks[-1].rows if story.looks else {})
    if not rows:
        return ""
    tints = colours(story.regions)
    found = [(name, story.spread(rows, name)) for name in story.regions]
    cards = "".join(
        card(
            escape(name),
            f"{one.mean:.3f} <small>Dice</small>",
            f"{_interval(one)}, {one.cases} held-out cases",
            tints[name],
        )
        for name, one in found
        if one.cases
    )
    return f'<div class="cards">{cards}</div>'


def _interval(one: Spread) -> str:
    if not math.isfinite(one.low):
        return "no interval"
    return f"{one.low:.3f} to {one.high:.3f}"


def _cell(one: Spread) -> str:
    return f"{one.mean:.3f}<small>{_interval(one)}</small>" if one.cases else "-"


def _marks(story: History) -> list[tuple[float, str]]:
    """What happened, by when."""
    marks = [(line["seconds"], "went back") for line in story.lines if "broke" in line]
    return marks + [(seconds, what) for _, seconds, what in story.kept.get("events", ())]


def _clock(story: History) -> Clock:
    steps = {0.0: 0.0, story.seconds: float(story.kept.get("step", 0))}
    steps |= {float(line["seconds"]): float(line["step"]) for line in story.lines}
    return Clock(story.seconds, sorted(steps.items()))


def _plots(story: History) -> str:
    clock, marks, tints = _clock(story), _marks(story), colours(story.regions)
    figures, looks = [], story.looks
    if looks:
        drawn = [
            Curve([_point(story, look, name) for look in looks if _there(look, name)], tints[name])
            for name in story.regions
        ]
        title = "Dice of held-out cases <small>higher is better; bands: 95 % over patients</small>"
        figures.append((title, {name: tints[name] for name in story.regions}, drawn))
    losses = story.losses()
    if losses:
        shades = {name: LOSSES[at % len(LOSSES)] for at, name in enumerate(losses)}
        drawn = []
        for name, points in losses.items():
            flat = [(at, value, math.nan, math.nan) for at, value in points]
            even = [(at, v, math.nan, math.nan) for at, v in curves.smoothed(points)]
            drawn += [Curve(flat, shades[name], dots=True), Curve(even, shades[name], thin=True)]
        title = "Loss of training patches <small>lower is better; dots: single steps</small>"
        figures.append((title, shades, drawn))
    rates = [
        (line["seconds"], line["rate"], math.nan, math.nan)
        for line in story.lines
        if "rate" in line and "broke" not in line
    ]
    if len(rates) > 1:
        title = "Learning rate <small>rises at first, then falls to zero by the end</small>"
        figures.append((title, {}, [Curve(rates, LOSSES[2], thin=True)]))
    inside = "".join(
        f"<figure><figcaption>{title}</figcaption>{legend(names)}"
        f"{curves.draw(drawn, clock, marks, title.partition(' <')[0])}</figure>"
        for title, names, drawn in figures
    )
    told = f"Dice of {len(looks[-1].rows)} held-out cases on the training's grid. " if looks else ""
    if marks:
        told += "Dashed lines mark where the training was stopped, resumed or went back."
    else:
        told += "Along the time of training, with the step reached below."
    return section("Curves", told, f'<div class="plots">{inside}</div>') if figures else ""


def _there(look: Look, region: str) -> bool:
    return any(region in row for row in look.rows.values())


def _point(story: History, look: Look, region: str) -> tuple[float, float, float, float]:
    one = story.spread(look.rows, region)
    return look.seconds, one.mean, one.low, one.high


def _examples(story: History) -> str:
    """Up to three held-out cases, a picture a validation."""
    kept: Mapping[str, Any] = story.kept.get("examples", {})
    chosen = _chosen(story, [case for case, one in kept.items() if one["seen"]])
    if not chosen:
        return ""
    tints = colours(story.regions)
    parts = []
    for place, (case, why) in enumerate(chosen):
        example = kept[case]
        where = f" <small>{escape(example['where'])}</small>" if example["where"] else ""
        parts.append(
            f"<h3>{escape(case)}{escape(why)}{where}</h3>{_picture(example, place)}"
            f'<div class="strip" style="--columns:{_columns(len(example["seen"]))}">'
            f"{_strip(story, case, example, place, tints)}</div>"
        )
    names = legend({"truth": "#FFFFFF", **tints})
    text = (
        "Left to right, as it learned: the slice with the most truth. What is marked in others "
        "or far away is not shown, but counts in the Dice below: that of the whole case."
    )
    return section("Held-out cases while it learned", text, names + "".join(parts))


def _chosen(story: History, cases: Sequence[str]) -> list[tuple[str, str]]:
    """The best, the median and the worst case when it is finished, the first three before."""
    if not story.finished or not story.looks or len(cases) < 3:
        return [(case, "") for case in cases[:3]]
    rows = story.looks[-1].rows
    means = {case: story.spread({case: rows[case]}).mean for case in cases if case in rows}
    order = sorted((case for case in means if math.isfinite(means[case])), key=lambda c: -means[c])
    if len(order) < 3:
        return [(case, "") for case in cases[:3]]
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return [(order[at], f" - {why} of {len(order)}") for why, at in places.items()]


def _columns(count: int) -> int:
    """Pictures in a line: so many that lines are of equal length, six at least."""
    count = min(count, SHOWN)
    return max(6, -(-count // -(-count // 10)))


def _picture(example: Mapping[str, Any], place: int) -> str:
    """The grey or colour values, once for all pictures of a case."""
    (columns, rows), (wide, high) = example["size"], example["pixel"]
    return (
        f'<svg class="store" aria-hidden="true"><defs><image id="case{place}" '
        f'width="{columns * wide:.3f}" height="{rows * high:.3f}" preserveAspectRatio="none" '
        f'href="{escape(example["picture"])}"/></defs></svg>'
    )


def _strip(
    story: History, case: str, example: Mapping[str, Any], at: int, tints: Mapping[str, str]
) -> str:
    (columns, rows), (wide, high) = example["size"], example["pixel"]
    box = f"0 0 {columns * wide:.3f} {rows * high:.3f}"
    place = f"scale({wide / 2:.5f} {high / 2:.5f})"
    seen = example["seen"]
    if len(seen) > SHOWN:
        seen = [seen[round(i * (len(seen) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    looks = {look.step: look for look in story.looks}
    truth = [(path, "#FFFFFF", 1.1) for path in example["truth"].values()]
    figures = []
    for step, paths in seen:
        drawn = slices.outlines(
            [*truth, *((paths.get(name, ""), tint, 1.5) for name, tint in tints.items())], place
        )
        look = looks.get(step)
        score = story.spread({case: look.rows[case]}).mean if look and case in look.rows else None
        when = curves.timed(look.seconds) if look else f"step {step}"
        said = f"<b>{score:.3f}</b>" if score is not None and math.isfinite(score) else ""
        figures.append(
            f'<figure><svg viewBox="{box}" role="img" aria-label="step {step}"><use '
            f'href="#case{at}"/>{drawn}</svg><figcaption>{said}{when}</figcaption></figure>'
        )
    return "".join(figures)


def _final(story: History) -> str:
    """What the model reaches on every held-out case, and with some of the images alone."""
    cases = story.final.get("cases", {})
    if not cases:
        return ""
    whole = "All cases" if story.folds else "All held-out cases"
    rows = [[whole, *_cells(story, cases), str(len(cases))]]
    for name, row in story.final.get("by_modalities", {}).items():
        spans = row.get("intervals", {})
        cells = [
            _cell(Spread(row["dice"][one], *_ends(spans.get(one, [None, None])), row["cases"]))
            if one in row["dice"]
            else "-"
            for one in story.regions
        ]
        rows.append([f"With {escape(name)}", *cells, str(row["cases"])])
    who = "Each case, by the fold that never saw it," if story.folds else "Each held-out case"
    text = f"{who} segmented on its own grid, as 'oncoseg predict' does; 95 % over patients."
    head = ["", *map(escape, story.regions), "Cases"]
    worst = sorted(cases, key=lambda case: story.spread({case: cases[case]}).mean)
    each = [
        [escape(case), *(_plain(cases[case].get(name)) for name in story.regions)] for case in worst
    ]
    inside = tabled(head, rows) + _folded(
        f"Every held-out case, the worst first ({len(each)})", tabled(["Case", *head[1:-1]], each)
    )
    return section("Final validation", text, inside)


def _cells(story: History, rows: Rows) -> list[str]:
    return [_cell(story.spread(rows, region)) for region in story.regions]


def _facts(story: History) -> str:
    told = story.kept.get("trained", {})
    if not told:
        return ""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in told.items()
    )
    happened = [f"{what} at step {step}" for step, _, what in story.kept.get("events", ())]
    items += f"<dt>Stops</dt><dd>{escape('; '.join(happened))}</dd>" if happened else ""
    return section("What is trained", "All of it stands in run.toml.", f"<dl>{items}</dl>")


def _numbers(story: History) -> str:
    """Every number of metrics.jsonl."""
    if not story.lines:
        return ""
    flat = [_flattened(line) for line in story.lines]
    heads = list(dict.fromkeys(name for row in flat for name in row))
    rows = [[_plain(row.get(name)) for name in heads] for row in flat]
    return _folded("Every number (metrics.jsonl)", tabled([*map(escape, heads)], rows))


def _flattened(line: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in line.items():
        whole = f"{before} {name}".strip()
        found |= _flattened(value, whole) if isinstance(value, dict) else {whole: value}
    return found


def _plain(value: object) -> str:
    if not isinstance(value, float):
        return "" if value is None else escape(str(value))
    return f'<span title="{value!r}">{value:.4g}</span>'


def _folded(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"
