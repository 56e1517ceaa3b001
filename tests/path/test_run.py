"""A run is one file; what cannot work is refused before any work."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MEMBERS = st.lists(TEXT, max_size=3).map(tuple)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
KINDS = {
    "str": TEXT,
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": NUMBER,
    "bool": st.booleans(),
    "tuple[str, ...]": MEMBERS,
    "dict[str, int]": st.dictionaries(TEXT, st.integers(0, 255), max_size=3),
    "dict[str, tuple[str, ...]]": st.dictionaries(TEXT, MEMBERS, max_size=3),
}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({entry.name: KINDS[entry.type] for entry in fields(Run)}))
def test_every_field_of_every_value_comes_back(tmp_path_factory, values):
    run = Run(**values)
    assert Run.read(run.write(tmp_path_factory.mktemp("run") / "run.toml")) == run


@pytest.mark.parametrize(
    "line",
    [
        'steps = "10"',
        "rate = true",
        "hold = [1]",
        'augmentations = "spatial"',
        "labels = 3",
        'regions = { WT = "NCR" }',
        "seed = 1.5",
        "name = 1",
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path, line):
    path = tmp_path / "run.toml"
    path.write_text(f'data = "a"\nto = "b.onco"\n{line}\n')
    with pytest.raises(BadFile, match=rf"run\.toml: has {line.split()[0]} = .*correct it"):
        Run.read(path)


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
        ({"minutes": float("nan")}, "minutes is from 0 to"),
        ({"workers": 0}, "workers is from 1 to 256, not 0"),
        ({"foreground": 1.5}, "foreground is from 0 to 1, not 1.5"),
        ({"rate": -1.0}, "rate is from 0 to 10"),
        ({"method": "supervise"}, "did you mean supervised"),
        ({"loss": "dice_cf"}, "did you mean dice_ce"),
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
    with pytest.raises(OncosegError, match=sentence) as caught:
        run.check()
    assert "\n" not in str(caught.value)


def test_the_default_run_is_allowed(tmp_path):
    Run(data=str(tmp_path), to="m.onco").check()
    Run(data=str(tmp_path), to="m.onco", minutes=0, steps=1, folds=3, fold=2).check()
