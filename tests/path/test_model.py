"""A model file holds data alone, equals its network, and is refused if a byte is off."""

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.errors import BadFile, BadRun, UnknownName
from oncoseg.export import effort
from oncoseg.model import open_model, save_model
from oncoseg.predict.engines import engine
from oncoseg.prepare.plan import Normalisation, Plan
from worlds import regions_task

TASK = regions_task(3, 16, ("a", "b"))
SPELLED = "unet:width=4"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny network with random weights and its file."""
    torch.manual_seed(0)
    network = registry.build("networks", SPELLED, TASK)
    path = tmp_path_factory.mktemp("modèle é") / "tiny.onco"
    plan = Plan(TASK, {name: Normalisation() for name in TASK.modalities})
    save_model(path, network, SPELLED, plan, {"name": "tiny"}, "none")
    return network, plan, path


def test_what_was_saved_is_opened(saved):
    network, plan, path = saved
    model = open_model(path)
    assert model.plan == plan
    assert model.card["name"] == "tiny"
    assert model.described["sha256"] == model.sha256
    for name, value in model.network().state_dict().items():
        assert torch.allclose(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_what_it_costs_travels_with_it(saved):
    """Each parameter once; a convolution of the stem alone has 2 x 27 x 2 x 4 x 16^3 operations."""
    network, _, path = saved
    said = open_model(path).described
    assert int(said["parameters"]) == sum(value.numel() for value in network.parameters())
    assert int(said["flops"]) > 2 * 27 * 2 * 4 * 16**3
    twice = [
        effort(registry.build("networks", f"unet:width={w},limit=999", TASK), TASK) for w in (4, 8)
    ]
    assert 3 < twice[1]["flops"] / twice[0]["flops"] < 4


def test_the_exported_graph_equals_the_network(saved):
    model = open_model(saved[2])
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 2, 16, 16, 16)).astype(np.float32)
    present = np.ones(image.shape, dtype=bool)
    present[:, 1] = False
    expected = engine(model, "torch", "cpu")(image, present)
    found = engine(model, "openvino")(image, present)
    assert np.abs(found - expected).max() < 1e-3 * expected.std()


def rewritten(path, target, change):
    """A copy of a model file with members changed by `change(dict)` and sums left as they were."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def flipped(content):
    return content[:-1] + bytes([content[-1] ^ 1])


FAULTS = {
    "a changed weight": lambda m: {**m, "weights.safetensors": flipped(m["weights.safetensors"])},
    "a changed plan": lambda m: {**m, "plan.json": m["plan.json"] + b" "},
    "a member too many": lambda m: {**m, "run.py": b"print()"},
    "a path out of the zip": lambda m: {**m, "../../evil": b""},
    "a member missing": lambda m: {name: m[name] for name in m if name != "graph.onnx"},
    "no sums": lambda m: {**m, "checksums.json": b"{}"},
    "sums that are no JSON": lambda m: {**m, "checksums.json": b"{"},
    "sums that are a list": lambda m: {**m, "checksums.json": b"[]"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_tampering_is_one_sentence_naming_the_file(saved, tmp_path, fault):
    path = rewritten(saved[2], tmp_path / "bad.onco", FAULTS[fault])
    with pytest.raises(BadFile) as caught:
        open_model(path)
    assert "bad.onco" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.onco"]


def test_cut_files_bombs_and_strangers_are_refused(saved, tmp_path):
    content = saved[2].read_bytes()
    for name, raw in {
        "cut.onco": content[: len(content) // 2],
        "no.onco": b"PK",
        "e.onco": b"",
    }.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(BadFile, match="not a whole model file"):
            open_model(tmp_path / name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in zipfile.ZipFile(saved[2]).namelist():
            archive.writestr(name, b"")
    raw = bytearray(buffer.getvalue())
    for place in range(len(raw) - 4):  # every entry of the directory claims to be 1 GB
        if raw[place : place + 4] == b"PK\x01\x02":
            raw[place + 24 : place + 28] = (1 << 30).to_bytes(4, "little")
    (tmp_path / "bomb.onco").write_bytes(bytes(raw))
    with pytest.raises(BadFile, match="more than 2 GB"):
        open_model(tmp_path / "bomb.onco")


def test_names_that_are_no_model_say_what_there_is(tmp_path):
    with pytest.raises(BadFile, match="does not exist"):
        open_model(tmp_path / "absent.onco")
    with pytest.raises(UnknownName, match="no model 'gliom'"):
        open_model("gliom")


def test_weights_go_only_into_the_network_they_are_of(saved):
    other = registry.build("networks", "unet:width=5", TASK)
    with pytest.raises(BadFile, match="weights are not those of this network"):
        open_model(saved[2]).load_into(other)


def test_nothing_in_the_file_is_code(saved):
    with zipfile.ZipFile(saved[2]) as archive:
        names = set(archive.namelist())
        assert not any(name.endswith((".py", ".pkl", ".pt", ".pth")) for name in names)
        assert json.loads(archive.read("network.json")) == {"network": SPELLED, "maps": []}


def resealed(path, target, **changes):
    """A copy whose members were changed and whose sums were made to fit, as a forger would."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {name.replace("__", "."): content for name, content in changes.items()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    members["checksums.json"] = json.dumps({**sums, "format": "oncoseg-model-1"}).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"network": 3}', b"[" * 10**5])
def test_contents_that_make_no_sense_are_one_sentence_even_with_sums_that_fit(
    saved, tmp_path, content
):
    looks = {
        "plan.json": lambda model: model.plan,
        "network.json": lambda model: model.network(),
        "weights.safetensors": lambda model: model.network(),
        "graph.onnx": lambda model: engine(model, "openvino"),
    }
    for name, look in looks.items():
        path = resealed(saved[2], tmp_path / "bad.onco", **{name.replace(".", "__"): content})
        with pytest.raises(BadFile, match=r"bad\.onco") as caught:
            look(open_model(path))
        assert "\n" not in str(caught.value)
    if not content.startswith(b"{}") and content != b'{"network": 3}':
        path = resealed(saved[2], tmp_path / "bad.onco", card__json=content)
        with pytest.raises(BadFile, match=r"bad\.onco: its card\.json"):
            _ = open_model(path).card


def test_no_changed_byte_changes_what_is_opened(saved, tmp_path):
    content = saved[2].read_bytes()
    genuine = open_model(saved[2])
    rng = np.random.default_rng(0)
    refused = []
    ends = range(len(content) - 700, len(content))  # the directory at the end
    for place in [*rng.integers(0, len(content), 120), *ends]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        path = tmp_path / "bad.onco"
        path.write_bytes(bytes(changed))
        try:
            assert open_model(path).members == genuine.members  # only a date or the like
        except BadFile as error:
            refused.append(str(error))
    assert len(refused) > 500
    assert all(sentence.startswith(str(path)) and "\n" not in sentence for sentence in refused)


def test_members_twice_over_or_sealed_are_refused(saved, tmp_path):
    path = tmp_path / "twice.onco"
    path.write_bytes(saved[2].read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("plan.json", b"{}")
    with pytest.raises(BadFile, match=r"twice\.onco: holds"):
        open_model(path)
    raw = bytearray(saved[2].read_bytes())
    for place in range(len(raw) - 4):
        if raw[place : place + 4] == b"PK\x01\x02":
            raw[place + 8] |= 1  # every member claims to be encrypted
    path.write_bytes(bytes(raw))
    with pytest.raises(BadFile, match=r"twice\.onco: is not a whole model file .*encrypted"):
        open_model(path)


def test_a_folder_is_no_model(tmp_path):
    (tmp_path / "folder.onco").mkdir()
    with pytest.raises(BadFile, match=r"folder\.onco: is not a whole model file"):
        open_model(tmp_path / "folder.onco")


def test_weights_are_those_of_the_network_in_half_precision(saved, tmp_path):
    torch.manual_seed(1)
    network = registry.build("networks", SPELLED, TASK)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    path = save_model(tmp_path / "m.onco", network, SPELLED, saved[1], {}, "none")
    for name, value in open_model(path).network().state_dict().items():
        assert torch.equal(value, before[name].half().float())


@pytest.mark.parametrize(
    ("name", "device", "sentence"),
    [
        ("tensorrt", "", "no engine 'tensorrt'; there are openvino, onnxruntime, torch"),
        ("openvino", "cuda", "OpenVINO has no device 'cuda'; there are CPU"),
        ("torch", "gpu", "no device 'gpu'; use cpu, cuda or mps"),
        ("torch", "cuda:99", "no device 'cuda:99' on this machine"),
    ],
)
def test_engines_and_devices_that_are_not_there_are_one_sentence(saved, name, device, sentence):
    with pytest.raises(BadRun, match=sentence):
        engine(open_model(saved[2]), name, device)
