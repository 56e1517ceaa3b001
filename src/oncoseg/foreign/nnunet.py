"""A trained model of nnU-Net v2 as a model file of ours, with the very answers it gave there.

What its plans say is read as data and never evaluated. What cannot be said in a plan of ours, and
would so be answered otherwise, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg import files, registry
from oncoseg.case import Task
from oncoseg.errors import BadFile, BadOption, printable
from oncoseg.extras import require
from oncoseg.foreign.weights import WRAPPED, Otherwise, fill, read
from oncoseg.model import save_model
from oncoseg.prepare.plan import Normalisation, Plan
from oncoseg.prepare.stretch import Stretch
from oncoseg.read import canonical

if TYPE_CHECKING:
    from torch import Tensor

    from oncoseg.trainable import Network

NAMES = ("checkpoint_final.pth", "checkpoint_best.pth")
LICENCE = "The weights are under the licence of whoever trained them; ask them.\n"
NETWORKS = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
READERS = {"SimpleITKIO": False, "NibabelIO": False, "NibabelIOWithReorient": True}
SCHEMES = {
    "ZScoreNormalization": "zscore",
    "CTNormalization": "dataset",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "unit",
    "RGBTo01Normalization": "bytes",
}
NEVER = 1e9  # times longer than any voxel is
NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
REMEDY = "import a model of nnU-Net v2 as it was trained"
# Names of its weights and of ours; `up` is counted from the coarsest level there.
RENAMED = {
    r"encoder\.stem\.convs\.0\.": "stem.",
    r"encoder\.stages\.(?P<stage>\d+)\.0\.convs\.(?P<place>\d+)\.": "encoder.{stage}.{place}.",
    r"encoder\.stages\.(?P<stage>\d+)\.blocks\.(?P<place>\d+)\.conv1\.": (
        "encoder.{stage}.{place}.first."
    ),
    r"encoder\.stages\.(?P<stage>\d+)\.blocks\.(?P<place>\d+)\.conv2\.": (
        "encoder.{stage}.{place}.second."
    ),
    r"encoder\.stages\.(?P<stage>\d+)\.blocks\.(?P<place>\d+)\.skip\.\d\.": (
        "encoder.{stage}.{place}.project."
    ),
    r"decoder\.stages\.(?P<up>\d+)\.convs\.(?P<place>\d+)\.": "decoder.{up}.{place}.",
    r"decoder\.transpconvs\.(?P<up>\d+)\.": "up.{up}.",
    r"decoder\.seg_layers\.(?P<up>\d+)\.": "heads.{up}.",
}
PARTS = {"conv.": "0.", "norm.": "1.", "": ""}
TWICE = re.compile(r"(.*\.)?all_modules\.|decoder\.encoder\.")


def convert(folder: Path, to: Path, *, fold: str = "") -> Path:
    """A folder of results, with plans.json, dataset.json and fold_0 .. -> the model file `to`.

    All folds become members of one network, or `fold` alone. Raises `BadFile` on what is not whole
    or not of nnU-Net v2, and on what would be answered otherwise here.
    """
    require("torch", "train")
    plans = files.read_json(folder / "plans.json")
    said = files.read_json(folder / "dataset.json")
    paths = checkpoints(folder, fold)
    trained = [read(path) for path in paths]
    words = [each for _, each in trained]
    names = sorted({str(each.get("configuration")) for each in words})
    if len(names) > 1:
        cause = f"holds folds of several configurations ({printable(', '.join(names))})"
        raise BadFile(folder, cause, "import them one by one, with --fold")
    try:
        configuration = resolved(plans, names[0])
        plan = Plan.from_dict(planned(plans, configuration, said).as_dict(), folder / "plans.json")
        spelled = network_of(configuration, len(paths))
    except NONSENSE as error:
        cause = f"is not a plan of nnU-Net v2 ({_told(error)})"
        raise BadFile(folder / "plans.json", cause, REMEDY) from error
    except Otherwise as error:
        cause = f"cannot be answered here as nnU-Net does: {printable(error)}"
        raise BadFile(folder / "plans.json", cause, "predict with nnU-Net itself") from error
    network: Network = registry.build("networks", spelled, plan.task)
    own = network.state_dict()
    bias = bool(architecture(configuration)[1].get("conv_bias"))

    def absent(name: str) -> float | None:
        return 0.0 if not bias and name.endswith("bias") else None

    for place, (path, (weights, _)) in enumerate(zip(paths, trained)):
        theirs = renamed(path, weights, len(plan.task.strides))
        fill(path, own, theirs, f"members.{place}.", "its plans say", absent)
    network.load_state_dict(own)
    flat = 3 - len(configuration["patch_size"])
    card = described(plans, names[0], paths, words, flat)
    return save_model(to, network, spelled, plan, card, LICENCE, whole=True)


def _told(error: Exception) -> str:
    text = printable(error)[:200]
    return f"it lacks {text}" if isinstance(error, KeyError) else text


def checkpoints(folder: Path, fold: str) -> list[Path]:
    """The last checkpoint of every fold, or of one; the best one where there is no last."""
    places = sorted(folder.glob("fold_*"))
    found = {
        place.name.removeprefix("fold_"): next(
            (place / name for name in NAMES if (place / name).exists()), None
        )
        for place in places
    }
    there = {name: path for name, path in found.items() if path}
    if not there:
        cause = "holds no fold_*/checkpoint_final.pth"
        raise BadFile(folder, cause, "give the folder of a trained model, with plans.json in it")
    if fold and fold not in there:
        raise BadOption(f"{folder} has no trained fold '{fold}'; it has {', '.join(there)}")
    if fold:
        return [there[fold]]
    return [path for name, path in there.items() if name != "all" or len(there) == 1]


def resolved(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration with what it inherits."""
    chain: list[dict[str, Any]] = []
    following: Any = name
    while following:
        if len(chain) > len(plans["configurations"]):
            raise ValueError("configurations inherit from one another in a circle")
        chain.append(plans["configurations"][following])
        following = chain[-1].get("inherits_from")
    return {key: value for each in reversed(chain) for key, value in each.items()}


def planned(plans: Mapping[str, Any], configuration: dict[str, Any], said: Any) -> Plan:
    """Our plan: axes, spacing, patch and normalisation as theirs."""
    reader = str(plans["image_reader_writer"])
    preprocessor = configuration.get("preprocessor_name", "DefaultPreprocessor")
    if reader not in READERS:
        raise Otherwise(f"it reads scans by {reader}")
    if preprocessor != "DefaultPreprocessor":
        raise Otherwise(f"it prepares scans by {preprocessor}")
    if configuration.get("previous_stage"):
        raise Otherwise("it is the second stage of a cascade, which reads the answer of the first")
    dims = len(configuration["patch_size"])
    flat = dims == 2
    order, apart = resampling(configuration)
    axes = tuple(2 - int(axis) for axis in plans["transpose_forward"])
    spacing, patch = configuration["spacing"], configuration["patch_size"]
    if flat:
        spacing = [plans["original_median_spacing_after_transp"][0], *spacing]
        patch = [1, *patch]
    channels = said.get("channel_names") or said["modality"]
    names = tuple(canonical(str(channels[key])) for key in sorted(channels, key=int))
    if len(set(names)) < len(names):
        names = tuple(f"{name}_{place}" for place, name in enumerate(names))
    labels, regions = outputs(said)
    task = Task(
        str(plans["dataset_name"]),
        names,
        labels,
        regions,
        tuple(float(length) for length in spacing),
        tuple(int(size) for size in patch),
        tuple(_stride(stride, dims) for stride in architecture(configuration)[1]["strides"][1:]),
    )
    schemes = dict(zip(names, normalisations(plans, configuration)))
    rule = Stretch(axes, READERS[reader], flat, order, apart)
    return Plan(task, schemes, int(configuration.get("batch_size", 2)), rule)


def _stride(stride: Any, dims: int) -> tuple[int, ...]:
    """One a axis, of a network in three dimensions."""
    steps = (
        tuple(int(step) for step in stride) if isinstance(stride, list) else (int(stride),) * dims
    )
    return (1,) * (3 - dims) + steps


def resampling(configuration: Mapping[str, Any]) -> tuple[int, float]:
    """Order of the splines for images, and how many times longer voxels are resampled apart."""
    found = []
    for kind in ("data", "probabilities"):
        name = configuration.get(f"resampling_fn_{kind}", "resample_data_or_seg_to_shape")
        options = dict(configuration.get(f"resampling_fn_{kind}_kwargs", {}))
        linear = name == "resample_torch_fornnunet" and options.get("mode", "linear") == "linear"
        if not linear and name != "resample_data_or_seg_to_shape":
            raise Otherwise(f"it resamples by {name}")
        usual = options.get("aniso_axis_mode", "nearest-exact") == "nearest-exact"
        if options.get("order_z", 0) != 0 or not usual:
            raise Otherwise("it interpolates between thick slices")
        forced = options.get("force_separate_z")
        times = float(options.get("separate_z_anisotropy_threshold", 3))
        apart = times if forced is None else 0.0 if forced else NEVER
        found.append((1 if linear else int(options.get("order", 3)), apart))
    (order, apart), (back, other) = found
    if back != 1 or apart != other:
        raise Otherwise("it brings logits back by other rules than linear ones")
    return order, apart


def outputs(said: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Labels and regions, in the order of the network's outputs."""
    given = {name: value for name, value in said["labels"].items() if name != "ignore"}
    members = {
        str(name): [int(one) for one in (value if isinstance(value, list) else [value])]
        for name, value in given.items()
    }
    members = {name: values for name, values in members.items() if set(values) != {0}}
    single = {values[0]: name for name, values in members.items() if len(values) == 1}
    every = sorted({value for values in members.values() for value in values})
    labels = {single.get(value, f"label_{value}"): value for value in every}
    by_value = {value: name for name, value in labels.items()}
    if all(len(values) == 1 for values in members.values()):
        if every != list(range(1, len(every) + 1)):
            raise ValueError("its labels are not 1, 2, 3, ...")
        return labels, {name: (name,) for name in labels}
    return labels, {
        name: tuple(by_value[value] for value in values) for name, values in members.items()
    }


def normalisations(
    plans: Mapping[str, Any], configuration: Mapping[str, Any]
) -> Iterator[Normalisation]:
    """One a channel."""
    known = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    pairs = zip(configuration["normalization_schemes"], configuration["use_mask_for_norm"])
    for channel, (name, masked) in enumerate(pairs):
        if name not in SCHEMES:
            raise Otherwise(f"it normalises by {name}")
        scheme = SCHEMES[name]
        if scheme == "dataset":
            seen = known[str(channel)]
            edges = float(seen["percentile_00_5"]), float(seen["percentile_99_5"])
            spread = max(float(seen["std"]), 1e-8)
            yield Normalisation(scheme, *edges, float(seen["mean"]), spread)
        else:
            yield Normalisation(scheme, masked=bool(masked) and scheme == "zscore")


def architecture(configuration: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the network; plans before version 2.3 have them among the rest."""
    if "architecture" in configuration:
        found = configuration["architecture"]
        return str(found["network_class_name"]).rpartition(".")[2], dict(found["arch_kwargs"])
    stages = len(configuration["n_conv_per_stage_encoder"])
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    dims = len(configuration["patch_size"])
    return str(configuration["UNet_class_name"]), {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        "n_conv_per_stage": configuration["n_conv_per_stage_encoder"],
        "n_blocks_per_stage": configuration["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def network_of(configuration: Mapping[str, Any], members: int) -> str:
    """Our network, spelt with its options."""
    kind, given = architecture(configuration)
    if kind not in NETWORKS:
        raise Otherwise(f"its network is {kind}")
    dims, stages = len(configuration["patch_size"]), int(given["n_stages"])
    norm, act = given.get("norm_op_kwargs") or {}, given.get("nonlin_kwargs") or {}
    stem = given.get("stem_channels") or given["features_per_stage"][0]
    faults = {
        "its norm is no instance norm": str(given["norm_op"]).rpartition(".")[2]
        != f"InstanceNorm{dims}d",
        "its norm has other options": (norm.get("eps", 1e-5), norm.get("affine")) != (1e-5, True),
        "its activation is no leaky ReLU": not str(given["nonlin"]).endswith("LeakyReLU"),
        "its activation has another slope": act.get("negative_slope", 0.01) != 0.01,
        "its norms follow its activations": bool(given.get("nonlin_first")),
        "its blocks are not of two convolutions": bool(given.get("bottleneck_channels"))
        or "Bottleneck" in str(given.get("block")),
        "its stem has a width of its own": stem != given["features_per_stage"][0],
        "its first stage is strided": set(_stride(given["strides"][0], dims)) != {1},
    }
    if wrong := [fault for fault, there in faults.items() if there]:
        raise Otherwise(wrong[0])
    count = "n_blocks_per_stage" if NETWORKS[kind] else "n_conv_per_stage"
    sizes = _each(given["kernel_sizes"], stages)
    options = {
        "widths": tuple(map(int, _each(given["features_per_stage"], stages))),
        "blocks": tuple(map(int, _each(given[count], stages))),
        "decoder": tuple(map(int, _each(given["n_conv_per_stage_decoder"], stages - 1))),
        "kernels": tuple("1" * (3 - dims) + "".join(map(str, _each(size, dims))) for size in sizes),
        "residual": NETWORKS[kind],
        "members": members,
    }
    return registry.spell("nnunet", options)


def _each(value: Any, count: int) -> Sequence[Any]:
    return value if isinstance(value, list) else [value] * count


def renamed(path: Path, weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Their weights by the names that ours have in a member; those that stand twice, once."""
    found = {}
    for name, value in weights.items():
        bare = WRAPPED.sub("", name)
        if TWICE.match(bare):
            continue
        ours = _ours(bare, depth)
        if not ours:
            cause = f"has weights of another network than its plans say ('{printable(name)[:80]}')"
            raise BadFile(path, cause, REMEDY)
        found[ours] = value
    return found


def _ours(name: str, depth: int) -> str:
    for theirs, ours in RENAMED.items():
        match = re.fullmatch(f"{theirs}(?P<part>conv\\.|norm\\.|)(?P<what>weight|bias)", name)
        if match:
            words = match.groupdict()
            if "up" in words:
                words["up"] = str(depth - 1 - int(words["up"]))
            return ours.format(**words) + PARTS[words["part"]] + words["what"]
    return ""


def described(
    plans: Mapping[str, Any],
    name: str,
    paths: Sequence[Path],
    words: Sequence[Mapping[str, Any]],
    flat: int,
) -> dict[str, Any]:
    """The card: where it comes from, and what its answers are equal to.

    Its `mirrored_axes` are those of our patches, which have `flat` axes before its own.
    """
    axes = words[0].get("inference_allowed_mirroring_axes")
    folds = [path.parent.name.removeprefix("fold_") for path in paths]
    return {
        "name": str(plans["dataset_name"]),
        "imported_from": "nnU-Net v2",
        "configuration": name,
        "trainer": str(words[0].get("trainer_name", "")),
        "folds": ", ".join(folds),
        "checkpoints": ", ".join(sorted({path.name for path in paths})),
        "mirrored_axes": ", ".join(str(flat + int(axis)) for axis in axes)
        if isinstance(axes, (list, tuple))
        else "",
        "answers": "those of nnU-Net without mirroring; where regions overlap, their probabilities "
        "are, and labels follow from them by the rule of oncoseg",
        "licence": "of whoever trained it",
    }
