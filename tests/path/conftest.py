"""What several tests of the path ask for and is made but once."""

import pytest


@pytest.fixture(
    scope="session",
    params=["axial-CT", "sagittal-CT", "coronal-CT", "oblique-CT", "oblique-MR", "axial-PT"],
)
def objects(request, tmp_path_factory):
    """All objects of a series of that orientation and modality: where, and as `written` says."""
    from objects import written

    orientation, modality = request.param.split("-")
    folder = tmp_path_factory.mktemp("written é")
    return folder / "out", *written(folder, orientation=orientation, modality=modality)
