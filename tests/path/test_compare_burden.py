"""Of all cases at once: Dice of all volume, and the error of the share of tumour in the liver."""

import json

import numpy as np
import pytest

from oncoseg import Grid
from oncoseg.compare import compare
from oncoseg.errors import BadFile
from oncoseg.protocol import read_protocol
from oncoseg.write import write_volume

SHAPE = (10, 10, 10)


def label(liver, tumour):
    """So many voxels of the liver without its tumour, and of the tumour."""
    flat = np.zeros(np.prod(SHAPE), np.uint8)
    flat[:liver], flat[liver : liver + tumour] = 1, 2
    return flat.reshape(SHAPE)


def folder(where, **cases):
    for case, (one, size) in cases.items():
        write_volume(where / f"{case}.nii.gz", one, Grid(SHAPE, np.diag([size, 1, 1, 1.0])))
    return where


@pytest.fixture
def found(tmp_path):
    """Case b has voxels twice as large; `half` finds half of its tumour, and lacks case c."""
    truth = {"a": (label(90, 10), 1.0), "b": (label(60, 40), 2.0), "c": (label(80, 20), 1.0)}
    half = {"a": truth["a"], "b": (label(80, 20), 2.0)}
    broken = {case: (np.full(SHAPE, 9, np.uint8), one[1]) for case, one in truth.items()}
    every = {"exact": truth, "half": half, "broken": broken}
    folders = [folder(tmp_path / name, **cases) for name, cases in every.items()]
    reference = folder(tmp_path / "truth", **truth)
    return compare(folders, reference, protocol="lits", to=tmp_path / "out", samples=10)


def test_worked_out_by_hand(found, tmp_path):
    (table,) = found.extras
    rows = {row[0]: [float(value) for value in row[1:]] for row in table.rows}
    assert rows["exact"] == [1, 1, 0, 0]
    # Tumours: 10 and 2 x 20 agree, of 10 + 2 x 20 predicted and 10 + 2 x 40 + 20 true.
    assert rows["half"][0] == pytest.approx(2 * 50 / (50 + 110), abs=5e-4)
    assert rows["half"][1] == pytest.approx(2 * 300 / (300 + 400), abs=5e-4)
    # Burdens are 0.1, 0.2 for 0.4, and nothing for 0.2, which could be 1.
    assert rows["half"][2] == pytest.approx(np.sqrt((0 + 0.04 + 0.64) / 3), abs=5e-4)
    assert rows["half"][3] == pytest.approx(0.8, abs=5e-4)
    assert "3 cases" in table.text
    written = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert written["tables"][0]["heading"] == "All cases at once"
    assert "All cases at once" in (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")


def test_an_algorithm_of_which_all_is_broken_is_the_last_and_ends_nothing(found):
    (table,) = found.extras
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["broken"] == ("0.000", "0.000", "0.777", "0.900")
    last = found.standings[-1]
    assert (last.algorithm, last.failed) == ("broken", 3)
    assert found.summary("broken", "tumour", "dice").mean == 0


def test_without_dice_or_its_regions_there_is_none(tmp_path, found):
    folders = [tmp_path / name for name in ("exact", "half")]
    options = {"protocol": "lits", "samples": 0}
    assert not compare(folders, tmp_path / "truth", metrics=("iou",), **options).extras
    other = {"all": (1, 2)}
    assert not compare(folders, tmp_path / "truth", regions=other, **options).extras
    text = 'metrics = ["dice"]\nburden = ["x", "y"]\n[card]\ntitle = "t"\nyear = 2020\n'
    (tmp_path / "own.toml").write_text(text + "[regions]\nx = [1]\n", encoding="utf-8")
    with pytest.raises(BadFile, match="not two of its regions"):
        read_protocol(str(tmp_path / "own.toml"))
