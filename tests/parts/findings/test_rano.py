import numpy as np
import pytest

from oncoseg import Case, Grid, Prediction, Task, build
from oncoseg.blocks.target_lesions import Measured, measured, rano_measurable, rano_targets

REGIONS = {"WT": ("NCR", "ED", "ET"), "TC": ("NCR", "ET"), "ET": ("ET",)}


def predict(*parts, regions=REGIONS, spacing=(1.0, 1.0, 1.0), shape=(80, 80, 20)):
    label = np.zeros(shape, np.uint8)
    for value, start, sides in parts:
        label[tuple(slice(a, a + n) for a, n in zip(start, sides))] = value
    task = Task("t", ("t1c",), {"NCR": 1, "ED": 2, "ET": 3}, regions)
    grid = Grid(label.shape, np.diag([*spacing, 1.0]))
    return Prediction("c", task, grid, label, np.zeros((0, *shape), np.float16), ("t1c",))


def report(prediction, spelling="rano"):
    section = build("findings", spelling)(prediction, Case("c", "c", {}))
    rows = {}
    for row in section["rows"]:
        rows.setdefault(row.get("lesion", ""), {})[row["name"]] = row["value"]
    return rows, " ".join(section["notes"])


def test_products_and_volumes_of_enhancing_lesions_alone():
    prediction = predict((2, (2, 2, 2), (40, 40, 14)), (3, (5, 5, 5), (12, 16, 6)))
    rows, notes = report(prediction)
    across = 2 * 12 * 16 / 20  # the diagonal is 20, its perpendicular twice the height upon it
    assert set(rows) == {"", "ET 1"}
    assert rows["ET 1"]["longest diameter"] == pytest.approx(20)
    assert rows["ET 1"]["product"] == pytest.approx(
        rows["ET 1"]["longest diameter"] * rows["ET 1"]["perpendicular"]
    )
    assert rows["ET 1"]["perpendicular"] <= across
    assert rows["ET 1"]["volume"] == pytest.approx(12 * 16 * 6 / 1000)
    assert rows[""]["sum of volumes, enhancing"] == rows["ET 1"]["volume"]
    assert rows[""]["suggested targets, enhancing"] == "ET 1"
    assert "non-enhancing tumour was not assessed" in notes


def test_options_say_which_region_is_which():
    prediction = predict((2, (2, 2, 2), (40, 40, 14)), (3, (5, 5, 5), (12, 16, 6)))
    rows, notes = report(prediction, "rano:enhancing=TC,other=WT")
    assert set(rows) == {"", "TC 1", "WT 1"}
    assert rows["WT 1"]["status"] == "non-enhancing, measurable, suggested target"
    assert "not assessed" not in notes
    assert "Option for enhancing: XX" in report(prediction, "rano:enhancing=XX")[1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ET", "enhancing"),
        ("enhancing tumour", "enhancing"),
        ("Contrast-enhancing", "enhancing"),
        ("non-enhancing tumour", "non-enhancing"),
        ("nonenhancing_core", "non-enhancing"),
        ("NET", "non-enhancing"),
        ("edema", ""),
        ("tumour", ""),
    ],
)
def test_a_name_says_whether_it_enhances_or_nothing_is_measured(name, kind):
    rows, notes = report(predict((3, (5, 5, 5), (20, 20, 6)), regions={name: ("ET",)}))
    assert [row["status"].partition(",")[0] for row in rows.values() if "status" in row] == (
        [kind] if kind else []
    )
    assert notes.count("was not assessed") == (1 if kind else 2)


@pytest.mark.parametrize(
    ("sides", "spacing", "measurable"),
    [
        ((15, 15, 4), (1, 1, 1), True),
        ((15, 9, 4), (1, 1, 1), True),
        ((30, 5, 4), (1, 1, 1), False),
        ((20, 20, 1), (1, 1, 6), False),
        ((13, 13, 4), (1, 1, 6), True),
        ((10, 10, 4), (1, 1, 8), False),
    ],
    ids=["large", "oblique", "narrow", "one slice", "thick slices", "too small for thick slices"],
)
def test_both_diameters_make_it_measurable(sides, spacing, measurable):
    rows, notes = report(predict((3, (5, 5, 5), sides), spacing=spacing))
    assert rows["ET 1"]["status"].startswith("enhancing, measurable") == measurable
    assert ("no measurable enhancing lesion" in notes) != measurable


def test_three_targets_by_product():
    def one(long, short, **options):
        return Measured(long, short, slices=5, thickness=1.0, **options)

    lesions = {"a": one(30, 11), "b": one(20, 20), "c": one(15, 15), "d": one(14, 14)}
    assert rano_targets(lesions) == ("b", "a", "c")
    assert rano_targets(lesions | {"b": one(20, 20, cut=True)}) == ("a", "c", "d")
    assert not rano_measurable(one(40, 9.9))


def test_cut_and_empty_and_flat():
    rows, notes = report(predict((3, (0, 5, 5), (20, 20, 6))))
    assert rows["ET 1"]["product"].startswith("at least ")
    assert "ET 1: cut by the edge of the image" in notes
    rows, notes = report(predict())
    assert rows == {}
    assert "No ET was found" in notes
    rows, _ = report(predict((3, (5, 5), (20, 20)), spacing=(0.5, 0.5), shape=(60, 60)))
    assert "volume" not in rows["ET 1"]
    assert "pixels have no known size" in report(predict(spacing=(1.0, 1.0), shape=(60, 60)))[1]


def test_a_volume_may_be_wrong_by_half_its_outer_voxels():
    (one,) = measured(predict((3, (5, 5, 5), (10, 10, 6)), spacing=(1, 1, 2)), ["ET"]).values()
    assert one.volume == pytest.approx(1.2)
    assert one.error_ml == pytest.approx((600 - 8 * 8 * 4) * 2 / 2 / 1000)
