"""Bad label maps and data sets: refused by the verb, listed by check, or read exactly."""

import os
import re

import numpy as np
import pytest

from badinputs.sets import FLAT, LABEL, LABELS, MASK, SETS
from oncoseg.check import check
from oncoseg.errors import OncosegError
from oncoseg.read import find, read_case

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def everything(folder):
    """Every case, read as a verb would."""
    return [read_case(source, labels=LABELS) for source in find(folder).sources]


@pytest.mark.parametrize("flaw", [*LABEL, *SETS], ids=lambda flaw: flaw.name)
def test_it_is_refused_or_told(flaw, tmp_path):
    if flaw.name == "shut" and (ROOT or os.name == "nt"):
        pytest.skip("whoever runs this may read everything")
    folder = tmp_path / "data"
    folder.mkdir()
    flaw.make(folder)
    checked = check(folder, labels=LABELS)
    if flaw.refused:
        with pytest.raises(OncosegError) as caught:
            everything(folder)
        message = str(caught.value)
        assert re.search(flaw.refused, message)
        assert str(folder) in message
        assert ";" in message
        causes = [one.cause for one in checked.problems if one.severity == "error"]
        assert any(re.search(flaw.refused, cause) for cause in causes)
        return
    for case in everything(folder):
        for label in case.labels.values():
            assert label.array.dtype.kind in "ui"
            if not flaw.told:
                assert np.array_equal(label.array, MASK if label.array.ndim == 3 else FLAT // 255)
    causes = [one.cause for one in checked.problems]
    assert any(flaw.told in cause for cause in causes) if flaw.told else not causes


@pytest.mark.parametrize("name", ["link", "folder", "empty-file"])
def test_one_bad_case_does_not_stop_the_others(name, tmp_path):
    flaw = next(flaw for flaw in SETS if flaw.name == name)
    flaw.make(tmp_path)
    assert [source.case for source in find(tmp_path).sources] == ["a", "b", "c"]
    failures = {source.case: [] for source in find(tmp_path).sources}
    for source in find(tmp_path).sources:
        read_case(source, failures=failures[source.case])
    assert not failures["a"]
    assert not failures["c"]
    assert str(tmp_path / "b" / "t1.nii.gz") in str(failures["b"][0])


def test_names_that_a_terminal_would_obey_are_shown_escaped(tmp_path):
    from badinputs.files import cut, nii

    cut(nii(tmp_path / "evil\x1b[31m\nname"))
    (source,) = find(tmp_path).sources
    with pytest.raises(OncosegError) as caught:
        read_case(source)
    assert str(caught.value).isprintable()
    table = check(tmp_path).table()
    assert all(line.isprintable() for line in table.split("\n"))
