"""The page of faults: as many classes as were promised, and as the tables have them."""

import pytest

pytest.importorskip("pydicom", reason="needs the extra 'dicom'")

from badinputs.page import PAGE, TABLES, page


def test_there_are_at_least_sixty_classes():
    assert sum(len(faults) for faults in TABLES.values()) >= 60
    for faults in TABLES.values():
        assert len({fault.name for fault in faults}) == len(faults)


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"
