"""Reports of many: a row a case whatever became of it, and a page that says who stands out."""

import copy
import csv
import io
import json
import math
import re

import numpy as np
import pytest

from oncoseg.errors import BadFile
from oncoseg.report import cohort
from oncoseg.report.cohort.courses import courses
from oncoseg.report.cohort.measures import measures, outliers
from oncoseg.report.cohort.page import Cohort, page
from oncoseg.report.cohort.plots import Strip, strips
from oncoseg.report.cohort.sheet import Entry, as_csv, as_parquet, table
from oncoseg.report.cohort.visits import Visit, read_visits

END = ("low", "high", "level")
GRADE = "texture.grade_day_ml_per_percent"


def row(name, value, unit="", **more):
    return {"name": name, "value": value, "unit": unit, **more}


def plain(volume=10.0, dice=0.9, *, missing=(), further=(), model="toy"):
    """What a report holds, as small as it can be."""
    volumes = [
        row("volume", volume, "ml", region="WT", low=volume / 2, high=2 * volume, level=0.9),
        row("volume", volume / 4, "ml", region="ET"),
    ]
    dices = [row("modalities used", "t1"), row("expected Dice", dice, region="WT")]
    sections = {"volumes": volumes, "quality": dices}
    sections |= {"texture": list(further)} if further else {}
    return {
        "date": "2024-01-01",
        "task": "toy",
        "answer": f"WT {volume} ml.",
        "model": {"name": model, "version": "1"},
        "used": ["t1"],
        "missing": list(missing),
        "notes": ["one"],
        "provenance": {},
        "findings": {
            name: {"title": name, "method": "By counting.", "rows": rows}
            for name, rows in sections.items()
        },
    }


def entry(case="a", **values):
    told = {key: values.pop(key) for key in ("patient", "visit", "day") if key in values}
    return Entry(case, told.pop("patient", case), f"{case}.html", plain(**values), **told)


def lost(case, reason="its label map is missing"):
    return Entry(case, case, reason=reason)


def parsed(entries):
    return list(csv.DictReader(io.StringIO(as_csv(entries).decode("utf-8"))))


def test_a_row_a_case_with_units_and_intervals():
    first, second = parsed([entry("a", volume=1.25), lost("b")])
    assert first["volume_ml.WT"] == "1.25"
    assert (first["volume_ml.WT.low"], first["volume_ml.WT.high"]) == ("0.625", "2.5")
    assert first["volume_ml.WT.level"] == "0.9"
    assert first["volume_ml.ET"] == "0.3125"
    assert first["expected_dice.WT"] == "0.9"
    assert (first["state"], first["used"], first["notes"]) == ("reported", "t1", "1")
    assert (second["case"], second["state"]) == ("b", "failed")
    assert second["reason"] == "its label map is missing"
    assert {second[name] for name in second if name.startswith("volume")} == {""}


def test_columns_do_not_depend_on_the_order_of_cases():
    further = [row("energy", 3.0, "mm²", region="WT"), row("energy", 4.0, "mm²", region="WT")]
    further += [row("energy", 9.0, "mm²", lesion="WT 1"), row("grade / day", 1, "ml/%")]
    entries = [lost("z"), entry("a"), entry("b", further=further)]
    columns, rows = table(entries)
    assert columns == table(entries[::-1])[0]
    own = columns[columns.index("expected_dice.WT") :]
    assert own[1:6] == ["volume_ml.ET", "volume_ml.WT", *(f"volume_ml.WT.{x}" for x in END)]
    assert own[6:] == ["texture.energy_mm2.WT", "texture.energy_mm2.WT#2", GRADE]
    assert [one.get("texture.energy_mm2.WT#2") for one in rows] == [None, None, 4.0]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\uff1d", "  @"])
def test_no_cell_is_a_formula(start):
    name = f"{start}cmd|' /C calc'!A0"
    text = as_csv([lost(name, name), entry("b", model=name, missing=[name])]).decode("utf-8")
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert sum("calc" in cell for cell in cells) == 5  # case, patient, reason, model, missing
    assert not [cell for cell in cells if re.match("\\s*[=+\\-@\uff1d]", cell) and "calc" in cell]
    assert text.count("\n") == 3
    assert "\r" not in text


def test_parquet_has_types_and_nulls(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    side = [row("image side", "left", region="WT")]
    (tmp_path / "c.parquet").write_bytes(as_parquet([entry("=a", further=side), lost("b")]))
    made = parquet.read_table(tmp_path / "c.parquet")
    kinds = {field.name: str(field.type) for field in made.schema}
    assert kinds["volume_ml.WT"] == "double"
    assert kinds["case"] == kinds["reason"] == kinds["texture.image_side.WT"] == "string"
    assert made["volume_ml.WT"].to_pylist() == [10.0, None]
    assert made["case"].to_pylist() == ["=a", "b"]
    assert made.schema.metadata == {b"format": b"oncoseg-cohort-1"}


def spread_of(values, **more):
    entries = [entry(f"c{place}", volume=value, **more) for place, value in enumerate(values)]
    return [(one.case, told) for one, told in outliers(measures(entries)) if "volume WT" in told]


def test_who_stands_out_by_the_stated_rule():
    values = [8.0, 9, 10, 11, 12, 9.5, 10.5]
    assert spread_of([*values, 10.0]) == []
    low, high = np.percentile(np.log([*values, 40.0]), (25, 75))
    fence = math.exp(high + 1.5 * (high - low))
    (found,) = spread_of([*values, 40.0])
    assert found == ("c7", f"volume WT 40 ml, above {fence:.4g}")
    assert spread_of([*values, fence * 0.999])[:1] == []
    assert spread_of([*values, 0.0]) == []  # nothing found is counted, not compared
    assert spread_of([*values[:6], 40.0]) == []  # too few
    assert spread_of([10.0] * 9 + [11.0]) == []  # too alike to have a spread


def test_what_was_not_found_has_no_dice():
    entries = [entry(f"c{place}", dice=0.8 + place / 1000) for place in range(9)]
    found = list(outliers(measures([*entries, entry("none", volume=0.0, dice=0.0)])))
    assert "none" not in [one.case for one, _ in found]


def test_of_dice_only_the_low_side_stands_out():
    entries = [entry(f"c{place}", dice=0.8 + place / 1000) for place in range(9)]
    dices = {"low": entry("low", dice=0.1), "high": entry("high", dice=1.0)}
    found = list(outliers(measures([*entries, *dices.values()])))
    assert [one.case for one, told in found if "Dice" in told] == ["low"]


def test_courses_start_at_baseline():
    rows = [
        {"patient": "b", "when": 3.0, "sum": 150.0, "link": "./b2.html"},
        {"patient": "b", "when": 1.0, "sum": 100.0, "link": "./b1.html"},
        {"patient": "b", "when": 6.0, "sum": 70.0, "link": "./b3.html"},
        {"patient": "a", "when": 1.0, "sum": 5.0},
        {"patient": "z", "when": 1.0, "sum": 0.0},
        {"patient": "z", "when": 2.0, "sum": 4.0},
        {"patient": "t", "when": 2.0, "sum": 4.0},
        {"patient": "t", "when": 2.0, "sum": 8.0},
        {"patient": "s", "when": 0.0, "sum": 30.0, "baseline": 60.0},
        {"patient": "s", "when": 1.0, "sum": 90.0, "baseline": 60.0},
    ]
    found, told = courses(rows)
    by = {one.patient: one for one in found}
    assert by["b"].points == ((0.0, 0.0), (2.0, 50.0), (5.0, -30.0))
    assert (by["b"].best, by["b"].link) == (-30.0, "./b3.html")
    assert by["s"].points == ((0.0, -50.0), (1.0, 50.0))
    assert by["s"].best == 50.0
    assert sorted(by) == ["b", "s"]
    assert [line.split()[0] for line in told] == ["z", "t"]


def test_visits_are_read_or_refused(tmp_path):
    path = tmp_path / "visits.csv"

    def of(text):
        path.write_text(text, encoding="utf-8")
        return read_visits(path, ["a", "b"])

    found = of("case,patient,date\na,P1,2024-01-31\nb,P1,2024-03-01\n")
    assert found["b"].day - found["a"].day == 30
    assert of("case,patient,day\na,P1,0\nb,P1,41.5\n")["b"] == Visit("P1", 41.5, "41.5")
    bad = ("case,patient\na,P1", "case,date\na,2024-01-01", "case,patient,date\na,P1,31.1.2024")
    bad += ("case,patient,day\na,P1,nan", "case,patient,day\na,,3", "patient,day\nP1,3", "")
    bad += ("case,patient,day\na,P1,3\na,P1,4", "case,patient,day\nx,P1,3")
    for text in bad:
        with pytest.raises(BadFile, match=re.escape(str(path))):
            of(text)


def made(tmp_path, entries, visits=None):
    """The files of a cohort, from reports that lie in the folder."""
    reports, failed = {}, {}
    for one in entries:
        if one.failed:
            failed[one.case] = one.reason
        else:
            reports[one.case] = tmp_path / one.page
            text = json.dumps(copy.deepcopy(dict(one.plain)))
            (tmp_path / f"{one.case}.report.json").write_text(text, encoding="utf-8")
    gathered = cohort.gather(reports, failed, visits or {})
    return cohort.write(tmp_path, gathered, "2024-01-01", dated=bool(visits))


def test_the_page_shows_all_and_needs_nothing_else(tmp_path):
    entries = [
        entry(f"sub-{who:02d}_ses-{visit}", volume=10 + who + visit, missing=["t2"] * (who % 2))
        for who in range(6)
        for visit in (1, 2)
    ]
    entries += [lost("<i>bad</i>", "cut & short"), entry("big #1", volume=500.0)]
    files = made(tmp_path, entries)
    assert [path.name for path in files] == ["cohort.csv", "index.html"]
    text = files[-1].read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"'](?!data:|#|\./)", text)
    assert "<script" not in text
    assert "<i>bad" not in text
    assert "1 of 14 cases could not be reported: &lt;i&gt;bad&lt;/i&gt;." in text
    assert "Failed: cut &amp; short" in text
    assert 'href="./big %231.html"' in text
    assert "volume WT 500 ml, above" in text
    assert "6 patients have several cases" in text
    assert "of several cases of a patient that is the order of their names" in text
    assert text.count('<svg class="plot"') == 1 + 2  # volumes; best change, over time
    assert "The same in all: expected Dice (0.9)." in text
    for one in entries:
        assert one.failed or f"./{one.case}.html".replace("#", "%23") in text
    assert len(parsed(cohort.gather({}, {"a": "x", "b": "y"}, {}))) == 2


def test_there_is_no_half_of_a_lesion():
    def marks(values):
        row = Strip("WT", "#000000", values, ["a", "b"], ["", ""], [False, False])
        drawn = strips([row], "plot")
        return re.findall(r">([\d.]+)</text>", drawn)

    assert marks([1.0, 2.0]) == ["1", "2"]
    assert marks([1.0, 1.5]) == ["1", "1.1", "1.2", "1.3", "1.4", "1.5"]


def test_dates_that_were_given_make_courses(tmp_path):
    entries = [entry("x", volume=10.0), entry("y", volume=5.0), entry("z")]
    visits = {"x": Visit("P7", 100.0, "2024-01-01"), "y": Visit("P7", 161.0, "2024-03-02")}
    text = made(tmp_path, entries, visits)[-1].read_text(encoding="utf-8")
    assert "<title>P7: -50.0 %</title>" in text
    assert "months since the first visit" in text
    assert "1 case has no visit in the file, so is in no course: z." in text
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "cohort.csv").open())}
    assert (rows["y"]["patient"], rows["y"]["visit"]) == ("P7", "2024-03-02")


def compared(case, days, then, now, *, rule=()):
    """A case with an earlier scan, as the comparison with it says."""
    one = entry(case, volume=now)
    name = f"{days} days before" if isinstance(days, int) else "before"
    visits = [("x", name, days), (case, "now", 0)]
    rows = [row(name, then, "ml", region="WT"), row("now", now, "ml", region="WT")]
    rows += [row(f"scan {name}", "case x"), row(name, 1.0, "ml", lesion="WT 1")]
    keys = ("case", "name", "days_earlier")
    change = {"title": "Change", "method": "By hand.", "rows": rows}
    change["visits"] = [dict(zip(keys, visit)) for visit in visits]
    one.plain["findings"]["change"] = change
    if rule:
        sums = [row("category", rule[0]), row("first sum", rule[1], "mm")]
        sums.append(row("sum now", rule[2], "mm"))
        response = {"title": "Response by RECIST 1.1", "method": "By the rule.", "rows": sums}
        one.plain["findings"]["response"] = response
    return one


def test_courses_come_from_comparisons_with_earlier_scans(tmp_path):
    entries = [
        compared("a", 60, 10.0, 5.0, rule=("PR", 50.0, 30.0)),
        compared("b", 30, 10.0, 12.0, rule=("PD", 20.0, 26.0)),
        compared("c", 30, 0.0, 12.0),
    ]
    text = made(tmp_path, entries)[-1].read_text(encoding="utf-8")
    assert text.index("Over time: sum of diameters (RECIST 1.1)") < text.index("Over time: volume")
    assert "<title>a: -40.0 %</title>" in text
    assert "<title>b: +30.0 %</title>" in text
    assert "<title>a: -50.0 %</title>" in text
    assert "c has nothing to measure at baseline" in text
    assert "Dashed: -30 % and +20 %." in text
    assert "<td>Response by RECIST 1.1</td><td>PR 1, PD 1</td>" in text
    assert text.count("months since the first visit") == 2
    rows = list(csv.DictReader((tmp_path / "cohort.csv").open()))
    assert [row["change.before_ml.WT"] for row in rows] == ["10", "10", "0"]
    assert [row["response.category"] for row in rows] == ["PR", "PD", ""]
    assert not [name for name in rows[0] if "days" in name]


def test_without_days_courses_are_of_visits(tmp_path):
    entries = [compared("a", 60, 10.0, 5.0), compared("b", "not known", 10.0, 12.0)]
    text = made(tmp_path, entries)[-1].read_text(encoding="utf-8")
    assert "visits after the first" in text
    assert "Not all dates of scans are known" in text


def test_visits_by_name_are_in_natural_order(tmp_path):
    entries = [entry(f"sub-1_ses-{number}") for number in (10, 9, 1)]
    made(tmp_path, entries)
    rows = list(csv.DictReader((tmp_path / "cohort.csv").open()))
    assert [row["case"] for row in rows] == ["sub-1_ses-1", "sub-1_ses-9", "sub-1_ses-10"]
    assert [(row["patient"], row["visit"]) for row in rows] == [("sub-1", x) for x in "123"]


def test_what_makes_numbers_incomparable_is_said(tmp_path):
    twice = {"Input t1": "a.nii.gz", "Input t1 SHA-256": "0123"}
    one, two = entry("a"), entry("b", model="other")
    for each in (one, two):
        each.plain["provenance"].update(twice)
    text = made(tmp_path, [one, two])[-1].read_text(encoding="utf-8")
    assert "Cases are of different models: toy 1 (1), other 1 (1)" in text
    assert "The same scan was measured as a and as b: only one should count." in text


def test_where_all_failed_there_are_still_rows_and_reasons(tmp_path):
    text = made(tmp_path, [lost("a"), lost("b")])[-1].read_text(encoding="utf-8")
    assert "2 of 2 cases could not be reported" in text
    assert "<svg" not in text
    rows = list(csv.DictReader((tmp_path / "cohort.csv").open()))
    assert [row["state"] for row in rows] == ["failed", "failed"]


def test_a_large_cohort_is_thinned_but_keeps_who_stands_out():
    rng = np.random.default_rng(0)
    entries = [entry(f"c{n}", volume=v) for n, v in enumerate(rng.lognormal(2, 0.5, 900))]
    text = page(Cohort([*entries, entry("far", volume=1e4)], "2024-01-01"))
    assert "<title>far: 1e+04</title>" in text
    assert 2 * 400 <= text.count("<circle") < 2 * 440
