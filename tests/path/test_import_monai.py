"""A MONAI Bundle becomes one of our models: the same answers, or a sentence."""

import copy
import json
import re

import numpy as np
import pytest

from oncoseg.__main__ import call
from oncoseg.case import Case, Grid, Volume
from oncoseg.errors import BadFile
from oncoseg.foreign import monai as ours
from oncoseg.foreign import weights
from oncoseg.foreign.bundle import Config
from oncoseg.foreign.monai import convert, planned
from oncoseg.model import open_model
from oncoseg.predict.engines import bare_batch
from oncoseg.prepare.align import align

torch = pytest.importorskip("torch")
nn = torch.nn
FEW = (4, 6, 6)


def named(**parts):
    module = nn.Module()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def conv(inputs, width, size=3, stride=1, bias=False):
    return named(conv=nn.Conv3d(inputs, width, size, stride, (size - 1) // 2, bias=bias))


class Block(nn.Module):
    """Two convolutions, and a strided shortcut round them where it is residual."""

    def __init__(self, inputs, width, stride=1, residual=False, affine=True):
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, width, 3, stride), conv(width, width)
        self.norm1, self.norm2 = (nn.InstanceNorm3d(width, affine=affine) for _ in range(2))
        self.residual = residual
        if residual and (inputs != width or stride != 1):
            self.conv3 = conv(inputs, width, 1, stride)
            self.norm3 = nn.InstanceNorm3d(width, affine=affine)

    def forward(self, x):
        act = nn.functional.leaky_relu
        found = self.norm2(self.conv2.conv(act(self.norm1(self.conv1.conv(x)))))
        if hasattr(self, "conv3"):
            x = self.norm3(self.conv3.conv(x))
        return act(found + x if self.residual else found)


class Theirs(nn.Module):
    """A U-Net of three levels whose weights are named as DynUNet names them."""

    def __init__(self, outputs=3, residual=False, affine=True):
        super().__init__()
        first, second, third = FEW
        kind = {"residual": residual, "affine": affine}
        self.input_block = Block(1, first, 1, **kind)
        self.downsamples = nn.ModuleList([Block(first, second, 2, **kind)])
        self.bottleneck = Block(second, third, 2, **kind)
        ups = []
        for coarse, fine in ((third, second), (second, first)):
            up = named(conv=nn.ConvTranspose3d(coarse, fine, 2, 2, bias=False))
            ups.append(named(transp_conv=up, conv_block=Block(2 * fine, fine, affine=affine)))
        self.upsamples = nn.ModuleList(ups)
        self.output_block = named(conv=conv(first, outputs, 1, bias=True))
        self.deep_supervision_heads = nn.ModuleList([named(conv=conv(second, outputs, 1))])
        self.skip_layers = named(downsample=self.input_block, next_layer=self.bottleneck)

    def forward(self, x):
        fine = self.input_block(x)
        middle = self.downsamples[0](fine)
        x = self.bottleneck(middle)
        for up, skip in zip(self.upsamples, (middle, fine)):
            x = up.conv_block(torch.cat([up.transp_conv.conv(x), skip], 1))
        return self.output_block.conv.conv(x)


def step(name, **options):
    return {"_target_": name, "keys": "@image_key", **options}


NETWORK = {
    "_target_": "monai.networks.nets.DynUNet",
    "spatial_dims": "$len(@roi)",
    "in_channels": 1,
    "out_channels": "$len(@labels)",
    "kernel_size": [3, 3, 3],
    "strides": [1, 2, [2, 2, 2]],
    "upsample_kernel_size": [2, 2],
    "filters": list(FEW),
    "norm_name": ["INSTANCE", {"affine": True}],
    "deep_supervision": True,
}
STEPS = [
    step("LoadImaged", reader="ITKReader"),
    step("EnsureChannelFirstd"),
    step("Orientationd", axcodes="LPS"),
    step("Spacingd", pixdim="@pixdim", mode="bilinear"),
    step("ScaleIntensityRanged", a_min=-175, a_max=250, b_min=0.0, b_max=1.0, clip=True),
    step("CastToTyped", dtype="$torch.float32"),
]
AFTER = [
    step("Activationsd", softmax=True),
    step("Invertd", transform="@preprocessing", nearest_interp=False, device="$@device"),
    step("AsDiscreted", argmax=True),
    step("SaveImaged", output_dir="$@bundle_root + '/eval'"),
]
CONFIG = {
    "imports": ["$import os", "$os.system('echo it ran')"],
    "image_key": "image",
    "roi": [16, 8, 8],
    "labels": {"background": 0},
    "sizes": {"mm": [2.0, 1.5, 3.0]},
    "pixdim": "@sizes#mm",
    "network_def": NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": STEPS},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@roi", "overlap": 0.25},
    "postprocessing": {"_target_": "Compose", "transforms": AFTER},
    "checkpoint": {"_target_": "CheckpointLoader", "load_path": "../../elsewhere/model.pt"},
}
SAID = {
    "name": "Spleen",
    "version": "0.5.9",
    "copyright": "Copyright (c) Somebody",
    "references": ["First. 2020", "Second. 2021"],
    "network_data_format": {
        "inputs": {"image": {"modality": "CT", "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"label_def": {"0": "background", "1": "spleen", "2": "liver"}}},
    },
}


def bundle(folder, config=CONFIG, said=SAID, state=None, **kind):
    """A folder as MONAI publishes one, and its network."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(said))
    torch.manual_seed(0)
    network = Theirs(**kind).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name:
                value.normal_(0.5, 0.3)
    torch.save(state or network.state_dict(), folder / "models" / "model.pt")
    return network


def changed(**changes):
    """The configuration with other keys; `network` and `inferer` are added to what there is."""
    found = copy.deepcopy(CONFIG)
    found["network_def"].update(changes.pop("network", {}))
    found["inferer"].update(changes.pop("inferer", {}))
    return {**found, **changes}


def steps(*more, at=5, after=False):
    """The configuration with other transforms from a place on."""
    listed = AFTER if after else STEPS
    found = {"_target_": "Compose", "transforms": [*listed[:at], *more]}
    return changed(**{"postprocessing" if after else "preprocessing": found})


def answers(model, network):
    image = torch.randn(1, 1, *model.task.patch, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.network()(bare_batch(image, torch.ones_like(image)))[0], network(image)


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("affine", [False, True], ids=["bare", "affine"])
def test_the_answer_is_theirs_to_the_last_digits(tmp_path, residual, affine):
    norm = ["instance", {"affine": True}] if affine else "instance"
    config = changed(network={"res_block": residual, "norm_name": norm})
    network = bundle(tmp_path / "b", config, residual=residual, affine=affine)
    model, theirs = answers(open_model(convert(tmp_path / "b", tmp_path / "m.onco")), network)
    assert torch.allclose(model, theirs, atol=1e-5)
    assert theirs.std() > 0.01


def test_one_sigmoid_is_a_softmax_beside_a_background_of_0(tmp_path):
    said = copy.deepcopy(SAID)
    said["network_data_format"]["outputs"] = {"pred": {"channel_def": {"0": "lesion"}}}
    config = steps(
        step("Activationsd", sigmoid=True), step("AsDiscreted", threshold=0.5), at=0, after=True
    )
    network = bundle(tmp_path / "b", config, said, outputs=1)
    opened = open_model(convert(tmp_path / "b", tmp_path / "m.onco"))
    model, theirs = answers(opened, network)
    assert opened.task.labels == {"lesion": 1}
    assert torch.allclose(model.softmax(1)[:, 1:], theirs.sigmoid(), atol=1e-5)


def test_the_plan_and_the_card_are_theirs(tmp_path, capfd):
    bundle(tmp_path / "b")
    (tmp_path / "b" / "LICENSE").write_text("Apache")
    words = ["import", "monai", str(tmp_path / "b"), "--to", str(tmp_path / "m.onco")]
    assert call(words) == 0
    assert "it ran" not in capfd.readouterr().out
    model = open_model(tmp_path / "m.onco")
    task, rule, scheme = model.task, model.plan.stretch, model.plan.normalisation["ct"]
    assert (task.patch, task.spacing, task.modalities) == ((16, 8, 8), (2.0, 1.5, 3.0), ("ct",))
    assert task.labels == {"spleen": 1, "liver": 2}
    assert task.exclusive
    assert (rule.axes, rule.signs, rule.turned) == ((0, 1, 2), (-1, -1, 1), True)
    assert (rule.pinned, rule.whole, rule.late, rule.own, rule.order) == (
        True,
        True,
        True,
        False,
        1,
    )
    assert (scheme.low, scheme.high, scheme.mean, scheme.deviation) == (-175, 250, -175, 425)
    assert model.card["citation"] == "First. 2020; Second. 2021"
    assert "overlap 0.25, blending constant" in model.card["windows"]
    assert model.members["LICENSE"] == b"Apache"
    assert call([*words, "--fold", "0"]) != 0


def test_other_transforms_come_into_the_plan():
    def rules(*listed, at=3):
        plan = planned(Config(steps(*listed, at=at)), SAID, "")[0]
        return plan.stretch, plan.normalisation["ct"]

    crop = step("CropForegroundd", source_key="image", mode=["minimum"])
    rule, scheme = rules(step("NormalizeIntensityd", nonzero=True, channel_wise=True), crop)
    assert (scheme.scheme, rule.own, rule.cropped, rule.late) == ("nonzero", True, True, False)
    both = step("ScaleIntensityd", minv=0, maxv=1), step("NormalizeIntensityd")
    assert rules(*both, at=4)[1].scheme == "zscore"
    rule, scheme = rules(
        step("ScaleIntensityd"), step("Orientationd", axcodes="SAR", _disabled_=True)
    )
    assert (scheme.scheme, rule.signs) == ("unit", (-1, -1, 1))
    free = step("ScaleIntensityRanged", a_min=0, a_max=10, b_min=-1, b_max=1)
    scheme = rules(free)[1]
    assert np.allclose(scheme(np.float32([0, 5, 20]), np.ones(3, bool)), [-1, 0, 3])


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (changed(network={"_target_": "SegResNet"}), "SegResNet, and only DynUNet"),
        (changed(network={"_target_": "scripts.mine.DynUNet"}), "scripts.mine.DynUNet, and only"),
        (changed(network={"filters": "$[4, 6, 6]"}), "network_def::filters is an expression"),
        (changed(network={"filters": "@nowhere#0"}), "refers to @nowhere#0, which is not there"),
        (changed(pixdim="@pixdim"), "refers to itself"),
        (changed(pixdim="%other.json#pixdim"), "is an expression"),
        (changed(network={"strides": [1, 2, 3]}), "strides are other than 1 and 2"),
        (changed(network={"upsample_kernel_size": [2, 3]}), "are not its strides"),
        (changed(network={"kernel_size": [3, 3, [1, 3, 3]]}), "kernels differ between levels"),
        (changed(network={"norm_name": "batch"}), "no instance norm"),
        (changed(network={"norm_name": ["instance", {"eps": 1e-3}]}), "norm has other options"),
        (changed(network={"act_name": "relu"}), "no leaky ReLU"),
        (changed(network={"act_name": ["leakyrelu", {"negative_slope": 0.1}]}), "slope 0.01"),
        (changed(network={"more": 1}), "options that DynUNet has not"),
        (changed(network_def=None), "its network is None"),
        (
            changed() | {"network": "$f(@network_def)"},
            "network is",
        ),
        (changed(inferer={"_target_": "SimpleInferer"}), "inferer is SimpleInferer"),
        (changed(inferer={"padding_mode": "replicate"}), "inferer has padding_mode=replicate"),
        (changed(inferer={"roi_size": [16, 8, 6]}), "no multiples of its strides"),
        (changed(preprocessing="$@a + @b"), "preprocessing is no Compose"),
        (steps(step("scripts.mine.Clipd")), "scans go through scripts.mine.Clipd"),
        (steps(step("Resized", spatial_size=[8, 8, 8])), "go through Resized (preprocessing::tra"),
        (steps(step("Orientationd", axcodes="RAS")), "turns scans after"),
        (steps(step("NormalizeIntensityd")), "changes intensities a second time"),
        (steps(step("Spacingd", pixdim=[1, 1, -1]), at=3), "keeps the spacing of some axes"),
        (steps(step("Spacingd", pixdim=1.0, mode="nearest"), at=3), "has mode=nearest"),
        (steps(step("CropForegroundd", source_key="image", margin=5)), "has margin=5"),
        (steps(step("CropForegroundd", source_key="image", select_fn="$f")), "is an expression"),
        (steps(step("CastToTyped", dtype="$torch.float16")), "is an expression"),
        (steps(step("EnsureTyped", _disabled_="yes")), "_disabled_ is neither true nor false"),
        (steps({"_target_": "EnsureTyped", "keys": ["image", "other"]}), "keys other than that"),
        (
            steps(step("KeepLargestConnectedComponentd"), at=3, after=True),
            "answers go through Keep",
        ),
        (steps(step("Activationsd", sigmoid=True), after=True, at=0), "outputs may overlap"),
        (steps(step("SaveImaged"), after=True, at=0), "does not say whether outputs"),
        (steps(step("AsDiscreted", threshold=0.3), after=True, at=0), "has threshold=0.3"),
    ],
)
def test_what_would_be_answered_otherwise_is_refused(tmp_path, config, sentence):
    bundle(tmp_path / "b", config)
    with pytest.raises(BadFile, match=r"inference\.json: cannot be answered") as caught:
        convert(tmp_path / "b", tmp_path / "m.onco")
    assert sentence in str(caught.value)
    assert not (tmp_path / "m.onco").exists()


@pytest.mark.parametrize(
    "config", [[], {}, changed(inferer={"roi_size": "wide"}), changed(roi=[1e400])]
)
def test_configurations_that_are_none_are_one_sentence(tmp_path, config):
    bundle(tmp_path / "b", config)
    with pytest.raises(BadFile):
        convert(tmp_path / "b", tmp_path / "m.onco")


class Evil:
    """What a pickle may hold: a call."""

    def __reduce__(self):
        return print, ("it ran",)


def test_checkpoints_that_run_code_or_are_too_large_or_of_another_network_are_refused(
    tmp_path, capfd, monkeypatch
):
    folder = tmp_path / "b"

    def refused(sentence):
        with pytest.raises(BadFile, match=re.escape(sentence)):
            convert(folder, tmp_path / "m.onco")

    bundle(folder, state={"state_dict": Theirs().state_dict(), "other": Evil()})
    refused("cannot be read as weights alone")
    assert "it ran" not in capfd.readouterr().out
    bundle(folder, state={"epoch": 3})
    refused("it holds no state_dict or model")
    bundle(folder, outputs=5)
    refused("lacks weights of the network that its configuration says ('heads.0.weight')")
    bundle(folder, state={**Theirs().state_dict(), "extra.weight": torch.ones(1)})
    refused("has weights of another network than DynUNet ('extra.weight')")
    bundle(folder)
    with monkeypatch.context() as patch:
        patch.setattr(weights, "LARGEST", 1000)
        refused("is larger than")
    with monkeypatch.context() as patch:
        patch.setattr(ours, "LARGEST", 1000)
        refused("inference.json: is larger than")


def test_only_fixed_names_in_the_folder_are_read(tmp_path):
    folder = tmp_path / "b"
    bundle(folder)
    (tmp_path / "elsewhere").mkdir()
    (folder / "models" / "model.pt").replace(tmp_path / "elsewhere" / "model.pt")
    with pytest.raises(BadFile, match=r"model\.pt: does not exist"):
        convert(folder, tmp_path / "m.onco")
    bundle(folder)
    (folder / "models" / "model.pt").rename(folder / "models" / "tuned.pt")
    assert open_model(convert(folder, tmp_path / "m.onco")).card["version"] == "0.5.9"
    (folder / "configs" / "inference.json").rename(folder / "configs" / "inference.yaml")
    with pytest.raises(BadFile, match="YAML alone; convert it"):
        convert(folder, tmp_path / "m.onco")


def test_scans_are_prepared_as_by_monai_itself(tmp_path):
    pytest.importorskip("monai", reason="needs MONAI to compare with")
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

    bundle(tmp_path / "b", steps(*STEPS[5:], step("CropForegroundd", source_key="image")))
    opened = open_model(convert(tmp_path / "b", tmp_path / "m.onco"))
    config = json.loads((tmp_path / "b" / "configs" / "inference.json").read_text())
    config["preprocessing"]["transforms"] = config["preprocessing"]["transforms"][2:]
    wanted = {name: config[name] for name in ("image_key", "sizes", "pixdim", "preprocessing")}
    theirs = ConfigParser(wanted).get_parsed_content("preprocessing")
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = np.float32(turn * np.array([0.9, -1.1, 2.5]))
    array = np.random.default_rng(0).normal(0, 200, (30, 21, 14)).astype(np.float32)
    found = align(
        Case("c", "c", {"ct": Volume(array, Grid(array.shape, affine), tmp_path)}), opened.plan
    )
    image = theirs({"image": MetaTensor(array[None].copy(), affine=torch.tensor(affine))})["image"]
    assert found.image.shape == tuple(image.shape)
    assert np.allclose(found.image, image.numpy(), atol=1e-4)
    assert np.allclose(found.grid.affine, image.affine.numpy(), atol=1e-4)
