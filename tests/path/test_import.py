"""A model of nnU-Net v2 becomes one of ours: the same answers, or a sentence."""

import copy
import json
import zipfile

import numpy as np
import pytest

from oncoseg import registry
from oncoseg.__main__ import call
from oncoseg.errors import BadFile, BadOption
from oncoseg.foreign.nnunet import convert
from oncoseg.model import open_model
from oncoseg.predict.engines import bare_batch

torch = pytest.importorskip("torch")
nn = torch.nn
CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
UPS = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class Layer(nn.Module):
    """Convolution, norm, activation, under two names each, as in its checkpoints."""

    def __init__(self, dims, inputs, width, kernel, stride=1, act=True, bias=True):
        super().__init__()
        padding = [(size - 1) // 2 for size in kernel]
        self.conv = CONVS[dims](inputs, width, kernel, stride, padding, bias=bias)
        self.norm = NORMS[dims](width, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, *([nn.LeakyReLU()] if act else []))

    def forward(self, x):
        return self.all_modules(x)


class Block(nn.Module):
    """A residual block whose shortcut is pooled and projected."""

    def __init__(self, dims, inputs, width, kernel, stride):
        super().__init__()
        self.conv1 = Layer(dims, inputs, width, kernel, stride)
        self.conv2 = Layer(dims, width, width, kernel, act=False)
        skip = [POOLS[dims](stride, stride)] if max(stride) > 1 else []
        if inputs != width:
            skip.append(Layer(dims, inputs, width, [1] * dims, act=False, bias=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, x):
        return nn.functional.leaky_relu(self.conv2(self.conv1(x)) + self.skip(x))


def named(**parts):
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


class Theirs(nn.Module):
    """A U-Net whose weights are named as nnU-Net names them."""

    def __init__(self, plan, inputs, outputs):
        super().__init__()
        dims, widths, kernels = (
            len(plan["strides"][0]),
            plan["features_per_stage"],
            plan["kernel_sizes"],
        )
        residual = "n_blocks_per_stage" in plan
        self.encoder = nn.Module()
        stages = []
        if residual:
            stem = Layer(dims, inputs, widths[0], kernels[0])
            self.encoder.stem = named(convs=nn.Sequential(stem))
        before = widths[0] if residual else inputs
        for level, (width, kernel, stride) in enumerate(zip(widths, kernels, plan["strides"])):
            kind, name = (Block, "blocks") if residual else (Layer, "convs")
            count = plan["n_blocks_per_stage" if residual else "n_conv_per_stage"][level]
            rest = [kind(dims, width, width, kernel, [1] * dims) for _ in range(count - 1)]
            layers = nn.Sequential(kind(dims, before, width, kernel, stride), *rest)
            stages.append(
                named(**{name: layers}) if residual else nn.Sequential(named(convs=layers))
            )
            before = width
        self.encoder.stages = nn.Sequential(*stages)
        self.decoder = nn.Module()
        self.decoder.encoder = self.encoder
        ups, convs, heads = [], [], []
        for level, count in zip(reversed(range(len(widths) - 1)), plan["n_conv_per_stage_decoder"]):
            width, stride = widths[level], plan["strides"][level + 1]
            ups.append(UPS[dims](widths[level + 1], width, stride, stride))
            layers = [Layer(dims, 2 * width, width, kernels[level])]
            layers += [Layer(dims, width, width, kernels[level]) for _ in range(count - 1)]
            convs.append(named(convs=nn.Sequential(*layers)))
            heads.append(CONVS[dims](width, outputs, 1))
        self.decoder.stages = nn.ModuleList(convs)
        self.decoder.transpconvs = nn.ModuleList(ups)
        self.decoder.seg_layers = nn.ModuleList(heads)

    def forward(self, x):
        pyramid = []
        if hasattr(self.encoder, "stem"):
            x = self.encoder.stem.convs(x)
        for stage in self.encoder.stages:
            x = stage.blocks(x) if hasattr(stage, "blocks") else stage[0].convs(x)
            pyramid.append(x)
        for up, stage, skip in zip(self.decoder.transpconvs, self.decoder.stages, pyramid[-2::-1]):
            x = stage.convs(torch.cat([up(x), skip], 1))
        return self.decoder.seg_layers[-1](x)


def architecture(dims, *, residual=False):
    count = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    flat = [[1, 3, 3], [3, 3, 3], [3, 3, 3]] if dims == 3 else [[3, 3]] * 3
    return {
        "network_class_name": "architectures.unet."
        + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 6, 6],
            "kernel_sizes": flat,
            "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]] if dims == 3 else [[1, 1], [2, 2], [2, 2]],
            count: [1, 2, 2],
            "n_conv_per_stage_decoder": [2, 1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }


def plans(dims=3, *, residual=False):
    kwargs = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    base = {
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 12, 16][3 - dims :],
        "spacing": [3.0, 0.9, 0.8][3 - dims :],
        "normalization_schemes": ["ZScoreNormalization", "CTNormalization"],
        "use_mask_for_norm": [True, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**kwargs, "order": 3},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**kwargs, "order": 1},
        "architecture": architecture(dims, residual=residual),
    }
    statistics = {"mean": 40, "std": 20, "percentile_00_5": -60, "percentile_99_5": 110}
    return {
        "dataset_name": "Dataset900_Tiny",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 2, 1],
        "original_median_spacing_after_transp": [3.0, 0.9, 0.8],
        "configurations": {"base": base, "used": {"inherits_from": "base", "batch_size": 3}},
        "foreground_intensity_properties_per_channel": {"1": statistics},
    }


SAID = {"channel_names": {"0": "T1", "1": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}}


def results(folder, made, said=SAID, folds=1, extra=None):
    """A folder as its training writes one, and its networks."""
    folder.mkdir(exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(made))
    (folder / "dataset.json").write_text(json.dumps(said))
    networks = []
    for fold in range(folds):
        torch.manual_seed(fold)
        network = Theirs(made["configurations"]["base"]["architecture"]["arch_kwargs"], 2, 3)
        networks.append(network.eval())
        place = folder / f"fold_{fold}"
        place.mkdir(exist_ok=True)
        content = {
            "network_weights": network.state_dict(),
            "logging": {"dice": [np.float64(0.5), np.float32(0.25)]},
            "_best_ema": np.float64(0.5),
            "init_args": {"configuration": "used", "plans": made, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
            **(extra or {}),
        }
        torch.save(content, place / "checkpoint_final.pth")
    return networks


def answers(model, networks, dims):
    """Ours and the mean of theirs, on one patch."""
    task = model.task
    image = torch.randn(1, 2, *task.patch, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model.network()(bare_batch(image, torch.ones_like(image)))[0]
        theirs = [network(image if dims == 3 else image[:, :, 0]) for network in networks]
    mean = torch.stack(theirs).mean(0)
    return ours, mean if dims == 3 else mean[:, :, None]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_the_answer_is_theirs_to_the_last_digits(tmp_path, dims, residual):
    networks = results(tmp_path / "theirs", plans(dims, residual=residual))
    model = open_model(convert(tmp_path / "theirs", tmp_path / "m.onco"))
    ours, theirs = answers(model, networks, dims)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert theirs.std() > 0.01


def test_the_plan_is_theirs(tmp_path):
    results(tmp_path / "theirs", plans())
    model = open_model(convert(tmp_path / "theirs", tmp_path / "m.onco"))
    plan = model.plan
    assert (plan.task.patch, plan.task.spacing, plan.batch) == ((8, 12, 16), (3.0, 0.9, 0.8), 3)
    assert plan.task.strides == ((1, 2, 2), (2, 2, 2))
    assert plan.task.modalities == ("t1", "ct")
    assert (plan.stretch.axes, plan.stretch.order, plan.stretch.apart) == ((2, 0, 1), 3, 3.0)
    first, second = (plan.normalisation[name] for name in ("t1", "ct"))
    assert (first.scheme, first.masked) == ("zscore", True)
    assert (second.scheme, second.low, second.high) == ("dataset", -60, 110)
    assert model.card["imported_from"] == "nnU-Net v2"
    assert model.card["mirrored_axes"] == "0, 1, 2"
    assert model.members["weights.safetensors"].count(b'"F32"') > 10


def test_folds_become_an_ensemble_unless_one_is_asked_for(tmp_path, capsys):
    networks = results(tmp_path / "theirs", plans(), folds=2)
    both = open_model(convert(tmp_path / "theirs", tmp_path / "both.onco"))
    ours, theirs = answers(both, networks, 3)
    assert torch.allclose(ours, theirs, atol=1e-5)
    words = ["import", "nnunet", str(tmp_path / "theirs"), "--to", str(tmp_path / "one.onco")]
    assert call([*words, "--fold", "1"]) == 0
    ours, theirs = answers(open_model(tmp_path / "one.onco"), networks[1:], 3)
    assert torch.allclose(ours, theirs, atol=1e-5)
    with pytest.raises(BadOption, match="no trained fold '7'; it has 0, 1"):
        convert(tmp_path / "theirs", tmp_path / "m.onco", fold="7")


def test_overlapping_regions_keep_their_order_and_get_sigmoids(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "active": [3]}
    results(
        tmp_path / "theirs", plans(), {**SAID, "labels": labels, "regions_class_order": [1, 2, 3]}
    )
    task = open_model(convert(tmp_path / "theirs", tmp_path / "m.onco")).task
    assert task.labels == {"label_1": 1, "label_2": 2, "active": 3}
    assert list(task.regions) == ["whole", "core", "active"]
    assert not task.exclusive


def changed(place, value):
    """Plans with one thing of the configuration, or of its network, replaced."""
    made = plans()
    base = made["configurations"]["base"]
    (base if place in base else base["architecture"]["arch_kwargs"])[place] = value
    return made


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ({**plans(), "image_reader_writer": "Tiff3DIO"}, "it reads scans by Tiff3DIO"),
        (changed("preprocessor_name", "Mine"), "it prepares scans by Mine"),
        (changed("normalization_schemes", ["Own", "Own"]), "it normalises by Own"),
        (changed("resampling_fn_data", "own"), "it resamples by own"),
        (changed("resampling_fn_data_kwargs", {"order_z": 1}), "between thick slices"),
        (changed("resampling_fn_probabilities_kwargs", {"order": 3}), "other rules than linear"),
        (changed("norm_op", "torch.nn.BatchNorm3d"), "its norm is no instance norm"),
        (changed("nonlin", "torch.nn.ReLU"), "its activation is no leaky ReLU"),
        (changed("strides", [[2, 2, 2]] * 3), "its first stage is strided"),
        (changed("patch_size", [8, 12, 16, 3]), "patch, spacing and strides must"),
        ({"configurations": {"used": {"inherits_from": "used"}}}, "in a circle"),
        ({"configurations": {}}, "it lacks 'used'"),
    ],
)
def test_what_would_be_answered_otherwise_is_refused(tmp_path, made, sentence):
    results(tmp_path / "theirs", plans())
    (tmp_path / "theirs" / "plans.json").write_text(json.dumps(made))
    with pytest.raises(BadFile, match=r"plans\.json: ") as caught:
        convert(tmp_path / "theirs", tmp_path / "m.onco")
    assert sentence in str(caught.value)
    assert not (tmp_path / "m.onco").exists()


class Evil:
    """What a pickle may hold: a call."""

    def __reduce__(self):
        return print, ("it ran",)


def test_a_checkpoint_that_would_run_code_runs_none(tmp_path, capfd):
    results(tmp_path / "theirs", plans(), extra={"logging": Evil()})
    with pytest.raises(BadFile, match="cannot be read as weights alone"):
        convert(tmp_path / "theirs", tmp_path / "m.onco")
    assert "it ran" not in capfd.readouterr().out


def test_checkpoints_that_are_not_whole_or_of_another_network_are_refused(tmp_path):
    made, folder = plans(), tmp_path / "theirs"
    results(folder, made)
    path = folder / "fold_0" / "checkpoint_final.pth"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match="not a whole checkpoint"):
        convert(folder, tmp_path / "m.onco")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"0" * 1000)
    with pytest.raises(BadFile, match="packed as torch packs no checkpoint"):
        convert(folder, tmp_path / "m.onco")
    torch.save({"state_dict": {}}, path)
    with pytest.raises(BadFile, match="holds no network_weights"):
        convert(folder, tmp_path / "m.onco")
    other = copy.deepcopy(made)
    other["configurations"]["base"]["architecture"]["arch_kwargs"]["features_per_stage"][1] = 8
    path.write_bytes(whole)
    (folder / "plans.json").write_text(json.dumps(other))
    with pytest.raises(BadFile, match="lacks weights of the network that its plans say"):
        convert(folder, tmp_path / "m.onco")
    path.unlink()
    with pytest.raises(BadFile, match="holds no fold_"):
        convert(folder, tmp_path / "m.onco")


def test_export_writes_the_graph_that_a_model_holds(tmp_path, capsys):
    results(tmp_path / "theirs", plans())
    model = open_model(convert(tmp_path / "theirs", tmp_path / "m.onco"))
    assert call(["export", str(model.path), "--to", str(tmp_path / "m.onnx")]) == 0
    assert (tmp_path / "m.onnx").read_bytes() == model.graph
    assert registry.parse("networks", "nnunet:kernels=133x333")[1] == {"kernels": ("133", "333")}
