"""Files made to do harm are refused with one sentence, and nothing of them reaches the disk."""

import hashlib
import json
import lzma
import stat
import struct
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from oncoseg import checkpoint, files, registry, results
from oncoseg.case import Grid, Prediction, Task
from oncoseg.errors import BadFile, OncosegError
from oncoseg.federate.site import faults
from oncoseg.model import open_model, save_model
from oncoseg.predict.engines import engine
from oncoseg.predict.soften import finished
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.prepare.store import open_store
from oncoseg.recipe import read_recipe
from oncoseg.run import Run

TASK = Task("t", ("a",), {"x": 1}, {"x": ("x",)}, (1.0,) * 3, (8, 8, 8), ((2, 2, 2),))
PLAN = Plan(TASK, {"a": Normalisation()})
DEEP = "[" * 200_000
ESCAPES = ["../up", "../../up", "/etc/up", "C:\\up", "..", ".", "", "a/b", "a\\b", "nul", "CON.x"]
ESCAPES += ["a\0b", "a\nb", "x" * 300, "x ", "x.", "a:b", "\x1b[2J", 'a"b', "com1"]


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of a genuine model."""
    torch.manual_seed(0)
    network = registry.build("networks", "unet:width=2", TASK)
    path = tmp_path_factory.mktemp("model") / "m.onco"
    save_model(path, network, "unet:width=2", PLAN, {"name": "m"}, "none")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, entries, kind=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content), names twice over and all."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", kind) as archive:
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def forged(path, members, kind=zipfile.ZIP_DEFLATED, **changes):
    """A model whose members were changed and whose sums were made to fit."""
    changes = {name.replace("__", "."): content for name, content in changes.items()}
    parts = {**members, **changes}
    del parts["checksums.json"]
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    parts["checksums.json"] = json.dumps({"format": "oncoseg-model-1", **sums}).encode()
    return zipped(path, parts.items(), kind)


def refused(call, words="."):
    """The one sentence."""
    with pytest.raises(OncosegError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../evil", "../../evil", "/evil", "C:\\evil", "..\\evil", "a/../../evil", "plan.json/", "é\0"],
)
def test_members_that_name_other_places_are_refused(members, tmp_path, name):
    entries = [*members.items(), (name, b"evil")]
    refused(lambda: open_model(zipped(tmp_path / "m.onco", entries)), r"m\.onco: ")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onco"]
    assert not (tmp_path.parent / "evil").exists()


def test_a_link_in_a_zip_is_not_followed(members, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('{"name": "secret"}')
    link = zipfile.ZipInfo("card.json")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    sums = json.loads(members["checksums.json"])
    sums["card.json"] = hashlib.sha256(str(secret).encode()).hexdigest()
    entries = [(n, c) for n, c in members.items() if n not in ("card.json", "checksums.json")]
    entries += [(link, str(secret)), ("checksums.json", json.dumps(sums))]
    model = open_model(zipped(tmp_path / "m.onco", entries))
    refused(lambda: model.card, r"card\.json is not valid JSON")


def test_names_twice_over_and_thousands_of_members_are_refused(members, tmp_path):
    twice = [*members.items(), ("plan.json", members["plan.json"])]
    refused(lambda: open_model(zipped(tmp_path / "m.onco", twice)), "holds")
    many = [*members.items(), *((f"{n}", b"") for n in range(5000))]
    with pytest.raises(BadFile, match="holds"):
        open_model(zipped(tmp_path / "n.onco", many))


def test_bombs_are_refused_before_they_unpack(members, tmp_path):
    path = forged(tmp_path / "m.onco", members, LICENSE=bytes(200 << 20))
    assert path.stat().st_size < 1 << 20
    refused(lambda: open_model(path), "more than 20 times its size")
    packed = forged(tmp_path / "l.onco", members, zipfile.ZIP_LZMA)
    refused(lambda: open_model(packed), "another way than deflate")
    (tmp_path / "x.onco").write_bytes(lzma.compress(b"x"))
    refused(lambda: open_model(tmp_path / "x.onco"), "not a whole model file")


def safetensors(header, body=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def tensor(start, stop, shape=(1,), kind="F16"):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, stop]}


WEIGHTS = {
    "a header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
    "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "a header of 200 MB": struct.pack("<Q", 200 << 20) + b" " * 1000,
    "a deep header": safetensors(DEEP.encode()),
    "no header": b"",
    "a header that is a list": safetensors([]),
    "tensors that overlap": safetensors({"a": tensor(0, 2), "b": tensor(0, 2)}, bytes(2)),
    "tensors out of the file": safetensors({"a": tensor(0, 2), "b": tensor(2, 9)}, bytes(2)),
    "an offset below 0": safetensors({"a": tensor(-2, 0)}, bytes(2)),
    "a shape that is too large": safetensors({"a": tensor(0, 2, (1 << 62, 1 << 62))}, bytes(2)),
    "an unknown type": safetensors({"a": tensor(0, 2, (1,), "PICKLE")}, bytes(2)),
    "a hole": safetensors({"a": tensor(4, 6)}, bytes(6)),
}


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_of_nonsense_are_refused(members, tmp_path, what):
    path = forged(tmp_path / "m.onco", members, weights__safetensors=WEIGHTS[what])
    refused(lambda: open_model(path).network(), r"m\.onco: its weights")
    path = tmp_path / "last.safetensors"
    path.write_bytes(WEIGHTS[what])
    refused(lambda: checkpoint.read(path), "last.safetensors")


def with_plan(**changes):
    record = PLAN.as_dict()
    record["task"] |= {name: changes.pop(name) for name in list(changes) if name in record["task"]}
    return json.dumps({**record, **changes}).encode()


NAN = [{"a": {"scheme": "dataset", word: float("nan")}} for word in ("low", "high", "mean")]
PLANS = {
    "deep": DEEP.encode(),
    "spacing NaN": with_plan(spacing=[float("nan")] * 3),
    "spacing infinite": with_plan().replace(b"1.0", b"1e999"),
    "spacing tiny": with_plan(spacing=[1e-9] * 3),
    "patch huge": with_plan(patch=[1 << 20] * 3),
    "patch of words": with_plan(patch=["8", "x", {}]),
    "an endless number": with_plan().replace(b'"batch": 2', b'"batch": ' + b"9" * 10_000),
    "labels out of a byte": with_plan(labels={"x": 1 << 40}),
    **{f"normalisation {n}": with_plan(normalisation=one) for n, one in enumerate(NAN)},
}


@pytest.mark.parametrize("what", PLANS)
def test_plans_of_nonsense_are_refused(members, tmp_path, what):
    path = forged(tmp_path / "m.onco", members, plan__json=PLANS[what])
    refused(lambda: open_model(path).plan, r"m\.onco: ")
    (tmp_path / "plan.json").write_bytes(PLANS[what])
    refused(lambda: Plan.read(tmp_path / "plan.json"), r"plan\.json: ")


TOLD = ([0.0] * 53, [1e300] * 54, [float("nan")] * 54, ["x"] * 54, 3, [[0.0]] * 54)
OTHERS = {
    "card__json": (DEEP, "3", '{"dice_by_modalities": 3}', '{"dice_by_modalities": {"a": [1]}}'),
    "posthoc__json": (
        *(DEEP, '{"steps": 3}', '{"steps": [3]}', '{"steps": [{"posthoc": 3}]}'),
        '{"steps": [{"posthoc": "../../x", "state": {}}]}',
        '{"steps": [{"posthoc": "temperature"}]}',
        '{"steps": [{"posthoc": "temperature", "state": 3}]}',
    ),
    "appearance__json": (
        *(DEEP, "3", "{}", '{"cases": 3}', '{"cases": [3, 3, 3, 3, 3, 3, 3, 3, 3]}'),
        *(json.dumps({"cases": [{"a": row}] * 9}) for row in TOLD),
    ),
    "network__json": (
        *(DEEP, '{"network": 3}', '{"network": "unet:width=2", "maps": 3}'),
        *(
            json.dumps({"network": f"unet:width={width}"})
            for width in ("-1", "0", "NaN", "3000", "100000")
        ),
        *(json.dumps({"network": name}) for name in ("../unet", "os:x=1", "(", "__init__")),
    ),
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, row in OTHERS.items() for t in row])
def test_what_a_model_says_of_itself_is_checked(members, tmp_path, name, text):
    model = open_model(forged(tmp_path / "m.onco", members, **{name: text.encode()}))
    scan = SimpleNamespace(appearance=lambda task: dict.fromkeys(task.modalities, [0.0] * 54))
    asked = lambda: (model.card, model.posthoc, model.maps, model.unlikeness(scan))  # noqa: E731
    refused(lambda: (asked(), model.network()))


def test_a_posthoc_step_that_learned_nonsense_is_one_sentence(members, tmp_path):
    text = '{"steps": [{"posthoc": "temperature", "state": {"temperature": "hot"}}]}'
    model = open_model(forged(tmp_path / "m.onco", members, posthoc__json=text.encode()))
    refused(
        lambda: finished(model, model.posthoc.values(), predicted("c")),
        r"m\.onco: what its posthoc",
    )


def graph_with_external_data(location):
    onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
    weight = onnx.TensorProto(data_type=1, dims=[4], name="w", data_location=1)
    weight.external_data.add(key="location", value=str(location))
    shapes = [onnx.helper.make_tensor_value_info(n, 1, [4]) for n in ("image", "out")]
    node = onnx.helper.make_node("Add", ["image", "w"], ["out"])
    graph = onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:], [weight])
    return onnx.helper.make_model(graph).SerializeToString()


XML = """<?xml version="1.0"?><!DOCTYPE net [<!ENTITY secret SYSTEM "file:///etc/hostname">]>
<net name="&secret;" version="11"><layers><layer id="0" name="w" type="Const" version="opset1">
<data element_type="f32" shape="4" offset="0" size="999999999999"/><output><port id="0"/></output>
</layer></layers><edges/></net>"""


def test_graphs_that_reach_for_other_files_are_refused(members, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    graphs = [graph_with_external_data(where) for where in (secret, "../secret.bin", "/etc/passwd")]
    for graph in [*graphs, XML.encode(), b"", b"\x08", b"\x08" * 500, members["graph.onnx"][:5000]]:
        model = open_model(forged(tmp_path / "m.onco", members, graph__onnx=graph))
        refused(lambda: engine(model, "openvino"), r"m\.onco: its graph")  # noqa: B023


def test_a_graph_of_another_network_is_refused_when_it_runs(members, tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
    shapes = [onnx.helper.make_tensor_value_info(n, 1, [4]) for n in ("image", "out")]
    node = onnx.helper.make_node("Neg", ["image"], ["out"])
    graph = onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:])
    raw = onnx.helper.make_model(graph, ir_version=8).SerializeToString()
    model = open_model(forged(tmp_path / "m.onco", members, graph__onnx=raw))
    image = np.ones((1, 1, 8, 8, 8), np.float32)
    refused(lambda: engine(model, "openvino")(image, image > 0), r"m\.onco: its graph")


def predicted(case):
    label = np.zeros((4, 4, 4), np.uint8)
    label[1, 1, 1] = 1
    probability = label[None].astype(np.float16)
    return Prediction(case, TASK, Grid(label.shape, np.eye(4)), label, probability, ("a",))


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_of_a_case_chooses_where_files_go(tmp_path, name):
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    refused(lambda: results.save(predicted(name), folder), "cannot name files|longer")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["sub-01_ses-02", "Müller 3", "日本", "a.b", "x" * 150, "case(1)"])
def test_ordinary_names_stay(tmp_path, name):
    assert results.load(results.save(predicted(name), tmp_path))[0].case == name


@pytest.mark.parametrize("key", ["label", "case"])
@pytest.mark.parametrize("value", ["../../up.nii.gz", "/etc/passwd", "..", "", 3, None, ["x"]])
def test_records_that_point_elsewhere_are_refused(tmp_path, key, value):
    path = results.save(predicted("c"), tmp_path)
    record = {**json.loads(path.read_text()), key: value}
    path.write_text(json.dumps(record))
    refused(lambda: results.load(path))


@pytest.mark.parametrize("text", [DEEP, "9" * 10_000, "NaN", "[1e999]", '{"a": -Infinity}', "\0"])
def test_json_that_no_standard_knows_is_one_sentence(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert str(path) in refused(lambda: files.read_json(path), "not valid JSON")


@pytest.mark.parametrize("text", ["a = " + "[" * 50_000, "a = " + "{a=" * 50_000, "\0", "stages=3"])
def test_toml_of_nonsense_is_one_sentence(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    refused(lambda: Run.read(path), r"a\.toml: ")
    refused(lambda: read_recipe(str(path)), r"a\.toml: ")


def stored(folder, **changes):
    """A prepared case, some of whose record was changed."""
    from oncoseg.prepare.align import Aligned
    from oncoseg.prepare.store import write

    label = np.zeros((2, 8, 8, 8), np.uint8)
    image = np.ones((1, 8, 8, 8), np.float32)
    aligned = Aligned(image, image > 0, label, Grid((8, 8, 8), np.eye(4)), labeled=True)
    write(folder / "c", aligned, TASK, {"case": "c", "patient": "p"}, 0)
    record = {**json.loads((folder / "c" / "case.json").read_text()), **changes}
    (folder / "c" / "case.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    "changes",
    [{"case": "../../x"}, {"shape": "888"}, {"shape": [-1, 8, 8]}, {"shape": None}, {"points": 3}],
)
def test_prepared_cases_with_records_of_nonsense_are_refused(tmp_path, changes):
    refused(lambda: open_store(stored(tmp_path, **changes)), r"case\.json: ")


def test_prepared_arrays_are_read_and_never_computed(tmp_path):
    blosc2 = pytest.importorskip("blosc2", reason="needs the extra 'train'")
    stored(tmp_path)
    array = blosc2.asarray(np.ones(8), urlpath=str(tmp_path / "x.b2nd"), mode="w")
    target = tmp_path / "c" / "image.b2nd"
    target.unlink()
    (array + 1).save(urlpath=str(target))
    refused(lambda: open_store(tmp_path)[0].arrays)
    for content in (b"", b"nonsense" * 100):
        target.write_bytes(content)
        refused(lambda: open_store(tmp_path)[0].arrays, "cannot be read")


def test_a_site_cannot_send_what_is_no_number():
    own = {"w": np.zeros(3, np.float32)}
    for value in (np.zeros(3, complex), np.array(["a", "b", "c"]), np.zeros(3), np.zeros(3, bool)):
        assert "has w of the type" in faults({"w": value}, own)
    assert "no numbers" in faults({"w": np.full(3, np.nan, np.float32)}, own)
    assert not faults(own, own)


@pytest.mark.parametrize("line", ["3", "{}", '{"boxes": 3, "next": []}', "NaN", DEEP])
def test_an_annotation_loop_goes_on_from_whole_lines_alone(tmp_path, line):
    from oncoseg.annotate import SETTINGS, _finished

    (tmp_path / SETTINGS).write_text("{}")
    (tmp_path / "rounds.jsonl").write_text(line + "\n")
    refused(lambda: _finished(tmp_path, {}, resume=True), r"rounds\.jsonl: is not whole")
