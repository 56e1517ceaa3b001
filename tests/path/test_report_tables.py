"""Rows of findings become tables: nothing lost, numbers short, intervals said."""

from oncoseg.report.tables import short, tabled, tables, worded


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


def test_what_would_be_too_wide_is_turned_and_images_stand_side_by_side():
    features = [f"feature {number}" for number in range(12)]
    rows = [row("volume", float(place), "ml", region=name) for place, name in enumerate("ab")]
    rows += [
        row(f"{image} {feature}", 1.5, "mm", region="a", image=image)
        for image in ("t1", "t2")
        for feature in features
    ]
    facts = [row("bins", 32)]
    shape, inside = tables({"title": "Radiomics", "method": "So.", "rows": facts + rows})
    assert (shape.title, shape.facts, shape.methods) == ("Radiomics", {"bins": "32"}, [])
    assert (shape.columns, shape.rows) == ([("a", ""), ("b", "")], [("volume, ml", ["0", "1.00"])])
    assert (inside.title, inside.methods) == ("Radiomics: a", ["So."])
    assert inside.columns == [("t1", ""), ("t2", "")]
    assert inside.rows == [(f"{feature}, mm", ["1.50", "1.50"]) for feature in features]
    assert tables({"title": "Few", "method": "So.", "rows": rows[:2]})[0].columns == [
        ("volume", "ml")
    ]
