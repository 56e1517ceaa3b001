"""The page of a cohort: who failed, who stands out and by which rule, how measures spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from oncoseg.blocks.document import alert, card, document, footer, header, section, table
from oncoseg.report.cohort.courses import Course
from oncoseg.report.cohort.measures import DICE, RULE, Measure, measures, outliers
from oncoseg.report.cohort.plots import Strip, spider, strips, waterfall
from oncoseg.report.cohort.sheet import Entry
from oncoseg.report.pictures import colours
from oncoseg.report.tables import short

CSS = Path(__file__).with_name("page.css")
LISTED = 12  # cases to look at first
LINE = 24  # letters that stay on one line


@dataclass(frozen=True)
class Plot:
    """Courses of `what`; time is in `unit` (months or visit), `lines` are thresholds in percent."""

    what: str
    courses: Sequence[Course]
    unit: str
    lines: Sequence[float] = ()


@dataclass(frozen=True)
class Cohort:
    """All that stands on the page; `notes` are sentences on the whole."""

    entries: Sequence[Entry]
    date: str
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = ()

    @property
    def done(self) -> list[Entry]:
        """Cases that have a report."""
        return [entry for entry in self.entries if not entry.failed]


def page(cohort: Cohort) -> str:
    """The whole page."""
    found = measures(cohort.done)
    body = [
        _header(cohort),
        _answer(cohort),
        alert(cohort.notes),
        _first(cohort, found),
        _spread(found),
        _responses(cohort),
        _courses(cohort),
        _modalities(cohort),
        _cases(cohort),
        _method(cohort, found),
        footer(),
    ]
    return document("Cohort of tumour reports", body, CSS)


def _header(cohort: Cohort) -> str:
    patients = len({entry.patient for entry in cohort.entries})
    models = Counter(entry.model or "not named" for entry in cohort.done)
    facts = [cohort.date, f"{_count(len(cohort.entries), 'case')}, {_count(patients, 'patient')}"]
    facts += [f"model {name}" for name in models][:2]
    return header("oncoseg cohort report", facts, "Tumour reports")


def _answer(cohort: Cohort) -> str:
    """Cards: how many were reported, in how many there is no tumour, the middle of each region."""
    done, failed = cohort.done, len(cohort.entries) - len(cohort.done)
    none = sum(entry.empty == set(entry.sizes) for entry in done)
    cards = [
        card("Reported", str(len(done)), f"of {_count(len(cohort.entries), 'case')}", "#1f5f8b"),
        card("Failed", str(failed), "listed below" if failed else "none", "#d55e00"),
        card("Nothing found", str(none), "of those reported", "#17212b"),
    ]
    sizes = [one for one in measures(done) if one.name in ("volume", "area")]
    for measure in sizes[:1]:
        palette = colours(measure.values)
        for region, values in list(measure.values.items())[:5]:
            if values:
                low, half, high = np.percentile([value for _, value in values], (25, 50, 75))
                more = f"median of {len(values)}; middle half {short(low)}-{short(high)}"
                text = f"{short(float(half))} <small>{escape(measure.unit)}</small>"
                cards.append(card(escape(region), text, more, palette[region]))
    return f'<div class="cards">{"".join(cards)}</div>'


def _first(cohort: Cohort, found: Sequence[Measure]) -> str:
    """Which cases to open first: those that failed, then those that stand out most often."""
    told: dict[str, tuple[Entry, list[str]]] = {}
    for entry in cohort.entries:
        if entry.failed:
            told[entry.case] = (entry, [f"Failed: {entry.reason}"])
    failed = len(told)
    for entry, sentence in outliers(found):
        told.setdefault(entry.case, (entry, []))[1].append(sentence)
    if not told:
        return section("To look at first", RULE, "<p>No case failed, and none stands out.</p>")
    order = sorted(told.values(), key=lambda one: (not one[0].failed, -len(one[1]), one[0].case))
    shown = max(failed, LISTED)
    rows = [
        f"<tr><td{_kind(entry.case)}>{_name(entry)}</td><td>{escape('; '.join(lines))}</td></tr>"
        for entry, lines in order[:shown]
    ]
    more = f"<p>{len(order) - shown} more are ringed below.</p>" if len(order) > shown else ""
    body = f'<table class="list"><tbody>{"".join(rows)}</tbody></table>{more}'
    return section("To look at first", RULE, body)


def _spread(found: Sequence[Measure]) -> str:
    figures, same = [], []
    for measure in found:
        rows = [_row(measure, region) for region, values in measure.values.items() if values]
        if not rows:
            continue
        every = [value for row in rows for value in row.values]
        if min(every) == max(every):
            same.append(f"{measure.name} ({every[0]:.4g} {measure.unit}".rstrip() + ")")
            continue
        log = measure.log and max(every) > 10 * min(every)
        empty = [f"{region} {count}" for region, count in measure.zeros.items() if count]
        more = f" Not found, and not drawn: {', '.join(empty)}." if empty else ""
        scale = " Logarithmic." if log else ""
        figures.append(
            f"<figure><figcaption><b>{escape(measure.title)}</b>{escape(scale + more)}"
            f"</figcaption>{strips(rows, measure.title, log=log)}</figure>"
        )
    if not figures and not same:
        return ""
    text = (
        "A dot a case, over a box from the first to the third quartile with the median in it. "
        "Cases that stand out are ringed; click a dot for its report."
    )
    text += f" The same in all: {', '.join(same)}." if same else ""
    return section("How measures spread", text, f'<div class="plots">{"".join(figures)}</div>')


def _row(measure: Measure, region: str) -> Strip:
    low, high = measure.fences(region)
    entries = [entry for entry, _ in measure.values[region]]
    values = [value for _, value in measure.values[region]]
    return Strip(
        name=region or "case",
        colour=colours(measure.values)[region],
        values=values,
        cases=[entry.case for entry in entries],
        links=[entry.link for entry in entries],
        far=[not low <= value <= high for value in values],
    )


def _courses(cohort: Cohort) -> str:
    parts = []
    for plot in cohort.plots:
        what, courses, lines = plot.what, plot.courses, plot.lines
        if not courses:
            continue
        text = (
            f"Change of {what} from the first visit of {_count(len(courses), 'patient')}: the best "
            "of each (most fall, or least rise), and all over time. Rises beyond 100 % are cut."
        )
        if lines:
            text += f" Dashed: {' and '.join(f'{line:+g} %' for line in lines)}."
        dated = plot.unit != "visit"
        time = f"{plot.unit} since the first visit" if dated else "visits after the first"
        body = (
            f"<figure><figcaption><b>Best change</b></figcaption>"
            f"{waterfall(courses, f'best change of {what}', lines)}</figure>"
            f"<figure><figcaption><b>Change over time</b></figcaption>"
            f"{spider(courses, f'change of {what} over time', time, lines)}</figure>"
        )
        heading = f"Over time: {what}"
        parts.append(section(heading, text, f'<div class="courses">{body}</div>'))
    return "".join(parts)


def _responses(cohort: Cohort) -> str:
    """How many patients have which category, by each rule that reports hold."""
    counts: dict[str, Counter[str]] = {}
    for entry in cohort.done:
        finding = entry.plain["findings"].get("response", {"title": "", "rows": ()})
        rows = [row for row in finding["rows"] if str(row["name"]).startswith("category")]
        for row in rows:
            what = finding["title"] + str(row["name"]).removeprefix("category")
            counts.setdefault(what, Counter())[str(row["value"])] += 1
    if not counts:
        return ""
    lines = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(_listed(found))}</td></tr>"
        for what, found in counts.items()
    )
    text = "Categories as each report gives them, with its reasons and what was not assessed."
    return section("Response", text, f'<table class="list"><tbody>{lines}</tbody></table>')


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.most_common())


def _modalities(cohort: Cohort) -> str:
    missing = Counter(" + ".join(entry.plain["missing"]) for entry in cohort.done)
    if not missing:
        return ""
    if set(missing) == {""}:
        body = "<p>No modality was missing in any case.</p>"
    else:
        rows = [
            (escape(names or "none"), str(count), f"{count / len(cohort.done):.0%}")
            for names, count in missing.most_common()
        ]
        body = table(("Missing", "Cases", "Share"), rows)
    text = "Volumes of cases that lack different modalities are not alike to compare."
    return section("Missing modalities", text, body)


def _cases(cohort: Cohort) -> str:
    several = len({entry.patient for entry in cohort.entries}) < len(cohort.entries)
    head = [
        "Case",
        *(["Patient", "Visit"] if several else []),
        "Result",
        "Dice",
        "Missing",
        "Notes",
    ]
    rows = []
    for entry in cohort.entries:
        cells = [entry.patient, entry.visit] if several else []
        if entry.failed:
            cells += [f"Failed: {entry.reason}", "", "", ""]
        else:
            missing = ", ".join(entry.plain["missing"]) or "none"
            cells += [
                str(entry.plain["answer"]),
                _dice(entry),
                missing,
                str(len(entry.plain["notes"])),
            ]
        kind = ' class="failed"' if entry.failed else ""
        text = "".join(f"<td{_kind(one)}>{escape(one)}</td>" for one in cells)
        rows.append(f"<tr{kind}><td{_kind(entry.case)}>{_name(entry)}</td>{text}</tr>")
    names = "".join(f"<th>{name}</th>" for name in head)
    body = (
        f'<table class="list"><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )
    text = "Dice as predicted, or else expected, of the region for which it is lowest."
    return section("All cases", text, body)


def _kind(text: str) -> str:
    """Short cells do not break."""
    return ' class="short"' if len(text) <= LINE else ""


def _dice(entry: Entry) -> str:
    rows = [row for finding, row in entry.rows if finding == "quality"]
    for name in DICE:
        values = [
            row["value"]
            for row in rows
            if row["name"] == name and row.get("region") not in entry.empty
        ]
        if values:
            return f"{min(values):.2f}"
    return "not known"


def _method(cohort: Cohort, found: Sequence[Measure]) -> str:
    drawn = ", ".join(dict.fromkeys(measure.name for measure in found))
    lines = [f"Looked at: {drawn}." if drawn else ""]
    lines.append("Every case counts once, also where a patient has several.")
    lines += list(
        dict.fromkeys(
            f"{finding['title']}: {finding['method']}"
            for entry in cohort.done[:1]
            for finding in entry.plain["findings"].values()
        )
    )
    items = "".join(f"<li>{escape(line)}</li>" for line in lines if line)
    return f'<section><h2>How this was measured</h2><ul class="methods">{items}</ul></section>'


def _name(entry: Entry) -> str:
    name = escape(entry.case)
    return f'<a href="{escape(entry.link)}">{name}</a>' if entry.page else name


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
