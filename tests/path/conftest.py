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


@pytest.fixture(scope="module")
def two_workers():
    """Ray on this machine, with two workers."""
    ray = pytest.importorskip("ray", reason="pip install 'oncoseg[cluster]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
