"""A run is one file; what cannot work is refused before any work."""

import pytest

from oncoseg.errors import BadFile, OncosegError
from oncoseg.run import Run


def test_toml_there_and_back(tmp_path):
    run = Run(
        data="scans é/x",
        to="m.onco",
        augmentations=("spatial:degrees=3.0",),
        hold=("a", "b"),
        labels={"tumour core": 1},
        regions={"WT": ("tumour core",)},
        minutes=0.5,
        balanced=True,
    )
    assert Run.read(run.write(tmp_path / "run.toml")) == run
    assert Run.read(tmp_path / "run.toml", seed=3).seed == 3


def test_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('data = "a"\nto = "b.onco"\nepochs = 3\n')
    with pytest.raises(BadFile, match="unknown key 'epochs'"):
        Run.read(path)
    path.write_text("data = ")
    with pytest.raises(BadFile, match="cannot be read"):
        Run.read(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"to": "model.pt"}, "ending in .onco"),
        ({"minutes": 0}, "--minutes or --steps"),
        ({"folds": 3, "fold": 3}, "counts from 0 to 2"),
        ({"precision": "f8"}, "bf16 or f32"),
        ({"network": "swin"}, "no network 'swin'"),
        ({"network": "unet:wdth=3"}, "Unet has no option 'wdth'; it has width"),
        ({"augmentations": ("spatal",)}, "did you mean spatial"),
        ({"data": "nowhere"}, "nowhere: does not exist"),
    ],
)
def test_what_cannot_work_is_one_sentence(tmp_path, change, sentence):
    run = Run(**{"data": str(tmp_path), "to": "m.onco", **change})
    with pytest.raises(OncosegError, match=sentence):
        run.check()
