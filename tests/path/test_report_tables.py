"""Rows of findings become tables: nothing lost, numbers short, intervals said."""

import re

from oncoseg.report.page import WIDE, _section
from oncoseg.report.records import Region
from oncoseg.report.tables import short, tables, worded


def row(name, value, unit="", **more):
    return {"name": name, "value": value, "unit": unit, **more}


def test_lines_are_regions_or_lesions_and_columns_are_measurements():
    rows = [
        row("slice thickness", 5.0, "mm"),
        row("sphericity", 0.71234, region="core"),
        row("volume", 12.3, "ml", region="core", low=10.0, high=14.9, level=0.9),
        row("sphericity", 0.9, lesion="core 1"),
    ]
    (found,) = tables({"title": "Shape", "method": "By counting.", "rows": rows})
    assert (found.title, found.methods) == ("Shape", ["By counting."])
    assert found.facts == {"slice thickness": "5.00 mm"}
    assert found.columns == [("sphericity", ""), ("volume", "ml")]
    assert found.rows == [
        ("core", ["0.712", "12.3 (10.0-14.9, 90%)"]),
        ("core 1", ["0.900", "-"]),
    ]


def test_numbers_have_enough_digits_to_compare():
    values = (0, 0.0, 3, 1.2e-5, 0.042, -3.14159, 61.32, 12500.0, 2.5e7)
    found = ["0", "0", "3", "1.2e-05", "0.042", "-3.14", "61.3", "12500", "2.5e+07"]
    assert [short(value) for value in values] == found


def test_words_stay_words():
    assert worded(row("side", "left")) == "left"


def test_what_was_measured_in_images_has_a_table_apart_in_which_they_are_compared():
    features = [f"feature {number}" for number in range(WIDE + 1)]
    rows = [row("volume", float(place), "ml", region=name) for place, name in enumerate("ab")]
    rows += [
        row(f"{image} {feature}", 1.5, "mm", region="a", image=image)
        for image in ("t1", "t2")
        for feature in features
    ]
    facts = [row("bins", 32)]
    shape, inside = tables({"title": "Radiomics", "method": "So.", "rows": facts + rows})
    assert (shape.title, shape.facts, shape.methods) == ("Radiomics", {"bins": "32"}, [])
    assert (shape.columns, shape.rows) == ([("volume", "ml")], [("a", ["0"]), ("b", ["1.00"])])
    assert (inside.title, inside.methods) == ("Radiomics: a", ["So."])
    assert inside.columns == [(feature, "mm") for feature in features]
    assert inside.rows == [(image, ["1.50"] * (WIDE + 1)) for image in ("t1", "t2")]
    assert drawn({"title": "Toy", "method": ".", "rows": rows})[-1] == [
        ["", "t1", "t2"],
        *([f"{feature}, mm", "1.50", "1.50"] for feature in features),
    ]


def drawn(section):
    """Each table of a finding: its head, then its lines, as texts."""
    region = Region("core", "", "#fff", "1", "ml", "")
    text = "".join(_section(one, [region]) for one in tables(section))
    rows = [
        [
            re.sub("<[^>]*>", "|", cell).strip("|")
            for cell in re.findall("<t[hd]>(.*?)</t[hd]>", row)
        ]
        for row in re.findall("<tr>(.*?)</tr>", text)
    ]
    starts = [at for at, row in enumerate(rows) if row[0] == ""]
    return [rows[a:b] for a, b in zip(starts, [*starts[1:], len(rows)])]


def test_regions_and_lesions_have_tables_with_their_own_columns():
    rows = [row("volume", 1.0, "ml", region="core"), row("diameter", 2.0, "mm", lesion="core 1")]
    one, two = drawn({"title": "Toy", "method": ".", "rows": rows})
    assert one == [["", "volume|ml"], ["core", "1.00"]]
    assert two == [["", "diameter|mm"], ["core 1", "2.00"]]


def test_no_table_is_wider_than_a_sheet_and_no_value_is_lost():
    names = [f"feature {number}" for number in range(30)]
    rows = [
        row(name, 100 * lesion + number, lesion=f"core {lesion}")
        for lesion in range(1, 21)
        for number, name in enumerate(names)
    ]
    found = drawn({"title": "Toy", "method": ".", "rows": rows})
    assert max(len(line) for table in found for line in table) <= WIDE + 1
    values = {
        (whose, line[0]): cell
        for head, *lines in found
        for line in lines
        for whose, cell in zip(head[1:], line[1:])
    }
    assert values == {(one["lesion"], one["name"]): str(one["value"]) for one in rows}
