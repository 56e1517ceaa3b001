"""Rows of findings become tables: nothing lost, numbers short, intervals said."""

from oncoseg.report.tables import short, tabled, worded


def row(name, value, unit="", **more):
    return {"name": name, "value": value, "unit": unit, **more}


def test_lines_are_regions_or_lesions_and_columns_are_measurements():
    section = {
        "title": "Shape",
        "method": "By counting.",
        "rows": [
            row("slice thickness", 5.0, "mm"),
            row("sphericity", 0.71234, region="core"),
            row("volume", 12.3, "ml", region="core", low=10.0, high=14.9, level=0.9),
            row("sphericity", 0.9, lesion="core 1"),
        ],
    }
    found = tabled(section)
    assert (found.title, found.methods) == ("Shape", ["By counting."])
    assert found.facts == {"slice thickness": "5.00 mm"}
    assert found.columns == [("sphericity", ""), ("volume", "ml")]
    assert found.rows == [
        ("core", ["0.712", "12.3 (10.0-14.9, 90%)"]),
        ("core 1", ["0.900", "-"]),
    ]


def test_numbers_have_enough_digits_to_compare():
    values = (0, 0.0, 3, 1.2e-5, 0.042, -3.14159, 61.32, 12500.0, 2.5e7)
    found = ["0", "0", "3", "1.2e-05", "0.042", "-3.14", "61.3", "12500.0", "2.5e+07"]
    assert [short(value) for value in values] == found


def test_words_stay_words():
    assert worded(row("side", "left")) == "left"
