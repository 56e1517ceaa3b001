"""Bad DICOM: each series is refused in a sentence without a name in it, or read exactly."""

import re

import numpy as np
import pytest

from oncoseg.check import check
from oncoseg.errors import OncosegError
from oncoseg.read import find, read_case, read_volume

pytest.importorskip("pydicom", reason="needs the extra 'dicom'")

from badinputs.slices import SERIES
from dicoms import SIZE

STORED = np.broadcast_to(10 * np.arange(SIZE), (3, 4, SIZE)).copy()
STORED[1, 0] = 7


def expected(fault):
    """Hounsfield units, or SUV one half-life after 7 MBq in 70 kg: 0.02 g/ml a Bq/ml."""
    return 0.02 * STORED if fault.name == "pet" else STORED - 1024


@pytest.mark.parametrize("fault", SERIES, ids=lambda fault: fault.name)
def test_it_is_refused_in_a_sentence_or_read_exactly(fault, tmp_path):
    folder = tmp_path / "case" / "scan"
    fault.make(folder)
    if fault.refused:
        with pytest.raises(OncosegError) as caught:
            read_volume(folder)
        message = str(caught.value)
        assert re.search(fault.refused, message)
        assert str(folder) in message
        assert "\n" not in message
        assert "Smith" not in message
        assert ";" in message
        assert check(tmp_path / "case").errors
        return
    volume = read_volume(folder)
    assert np.allclose(volume.array, expected(fault), rtol=1e-5)
    affine = np.array([[-0.5, 0, 0, 5], [0, -2, fault.shear, 6], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    assert np.allclose(volume.grid.affine, affine)
    assert any(fault.note in note for note in volume.notes) if fault.note else not volume.notes
    assert check(tmp_path / "case").errors == 0


def test_one_bad_patient_does_not_stop_the_others(tmp_path):
    faults = [fault for fault in SERIES if fault.name in ("whole", "gap", "twice", "cut", "uneven")]
    for fault in faults:
        fault.make(tmp_path / fault.name / "CT")
        for path in (tmp_path / fault.name / "CT").iterdir():
            whole = path.read_bytes()
            path.write_bytes(whole.replace(b"Smith^Anna", fault.name.ljust(10, "x").encode()))
    sources = find(tmp_path).sources
    assert [source.case for source in sources] == sorted(fault.name for fault in faults)
    failed = []
    for source in sources:
        failures = []
        read_case(source, failures=failures)
        failed += [source.case] if failures else []
    assert failed == ["cut", "gap", "twice", "uneven"]


def test_no_class_is_there_twice():
    assert len({fault.name for fault in SERIES}) == len(SERIES)
