"""A MONAI Bundle as a model file of ours, with the answers that it gave there.

Its configuration is read as literals (see `bundle`); what it names by paths is never followed.
Networks are those that ours can be, layer by layer: DynUNet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg import files, registry
from oncoseg.blocks.modalities import canonical
from oncoseg.case import Task
from oncoseg.errors import BadFile, printable
from oncoseg.extras import require
from oncoseg.foreign.bundle import Config, Preparation, idle, of_monai, outputs, prepared
from oncoseg.foreign.weights import WRAPPED, Otherwise, fill, read
from oncoseg.model import save_model
from oncoseg.prepare.plan import Normalisation, Plan

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 16 << 20  # bytes of a configuration
LICENCE = "The weights are under the licence of whoever trained them; ask them.\n"
KEYS = "state_dict,model,network,net"
REMEDY = "import a bundle of MONAI as it was published"
ELSEWHERE = "predict with MONAI itself"
NONSENSE = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
BACKGROUND = ("background", "bg", "everything else", "other")
UNNAMED = ("", "image", "img", "input", "channel 0")
INFERERS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
# Options of an inferer that say how windows are computed, where they lie and how they are blended.
BLENDED = {
    *("sw_batch_size", "sw_device", "progress", "cache_roi_weight_map", "cpu_thresh"),
    *("buffer_steps", "buffer_dim", "overlap", "mode", "sigma_scale", "roi_size"),
}
# What the parts of a bundle are made of: anything else would be other than what is read here.
WIRED = {
    ("network",): ("@network_def", "$@network_def.to(@device)"),
    ("dataset", "transform"): ("@preprocessing",),
    ("evaluator", "network"): ("@network", "@network_def"),
    ("evaluator", "inferer"): ("@inferer",),
    ("evaluator", "postprocessing"): ("@postprocessing",),
}
# Names of DynUNet's weights and of ours; `down` and `up` count from the finest and the coarsest.
PLACES = {
    r"input_block\.": 0,
    r"downsamples\.(?P<down>\d+)\.": 1,
    r"bottleneck\.": -1,
}
PLAIN = {"conv1.conv": "0.0", "norm1": "0.1", "conv2.conv": "1.0", "norm2": "1.1"}
RESIDUAL = {
    "conv1.conv": "0.first.0",
    "norm1": "0.first.1",
    "conv2.conv": "0.second.0",
    "norm2": "0.second.1",
    "conv3.conv": "0.project.0",
    "norm3": "0.project.1",
}
DROPPED = re.compile(r"skip_layers\.|deep_supervision_heads\.")


def convert(folder: Path, to: Path) -> Path:
    """A folder with configs/inference.json, configs/metadata.json and models/model.pt -> `to`.

    Raises `BadFile` on what is not whole or no bundle, and on what would be answered otherwise
    here.
    """
    require("torch", "train")
    path, about = folder / "configs" / "inference.json", folder / "configs" / "metadata.json"
    if not path.exists() and any(path.with_suffix(end).exists() for end in (".yaml", ".yml")):
        cause = "has a configuration in YAML alone"
        raise BadFile(folder, cause, "convert it to configs/inference.json, with the same names")
    content, said = _json(path), _json(about)
    try:
        config = Config(content)
        plan, spelled, kind = planned(config, said, folder.resolve().name)
        plan = Plan.from_dict(plan.as_dict(), path)
        options = config("network_def")
    except NONSENSE as error:
        told = printable(error)[:200]
        told = f"it lacks {told}" if isinstance(error, KeyError) else told
        raise BadFile(folder / "configs", f"is not that of a bundle ({told})", REMEDY) from error
    except Otherwise as error:
        cause = f"cannot be answered here as MONAI does: {printable(error)}"
        raise BadFile(path, cause, ELSEWHERE) from error
    weights, _ = read(checkpoint(folder), KEYS, bare=True)
    network = registry.build("networks", spelled, plan.task)
    own, theirs = network.state_dict(), renamed(checkpoint(folder), weights, options)
    if kind == "sigmoid":
        two_classes(theirs)
    fill(checkpoint(folder), own, theirs, "members.0.", "its configuration says", absent(options))
    network.load_state_dict(own)
    licence = _text(folder / "LICENSE") or LICENCE
    return save_model(to, network, spelled, plan, described(config, said), licence, whole=True)


def _json(path: Path) -> Any:
    if path.exists() and path.stat().st_size > LARGEST:
        raise BadFile(path, f"is larger than {LARGEST >> 20} MB", REMEDY)
    return files.read_json(path)


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > LARGEST:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")


def checkpoint(folder: Path) -> Path:
    """models/model.pt, or the only other file of its kind there."""
    usual = folder / "models" / "model.pt"
    others = sorted((folder / "models").glob("*.pt"))
    return others[0] if len(others) == 1 and not usual.exists() else usual


def planned(config: Config, said: Any, name: str) -> tuple[Plan, str, str]:
    """Our plan, our network, and what its outputs are: `softmax` or `sigmoid`."""
    for place, usual in WIRED.items():
        found: Any = config.content
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None and found not in usual:
            shown = found if isinstance(found, str) else "something else"
            raise Otherwise(f"its {'::'.join(place)} is {shown}, where {usual[0]} is known")
    spelled, strides = network_of(config)
    patch = windows(config, strides)
    channels = modalities(said)
    kind = outputs(config)
    labels = classes(said, kind)
    known: Preparation = prepared(config, len(channels))
    scheme = known.scheme or Normalisation("none")
    task = Task(
        str(said.get("name") or name),
        channels,
        labels,
        {label: (label,) for label in labels},
        known.spacing or (1.0, 1.0, 1.0),
        patch,
        strides,
    )
    return Plan(task, dict.fromkeys(channels, scheme), 2, known.rule), spelled, kind


def network_of(config: Config) -> tuple[str, tuple[tuple[int, ...], ...]]:
    """Our network, spelt with its options, and the strides of its levels but the first."""
    if "network_def" not in config.content:
        raise Otherwise("it has no network_def")
    raw = config.content["network_def"]
    kind = raw.get("_target_") if isinstance(raw, dict) else raw
    if of_monai(kind) not in ("DynUNet", "DynUnet", "Dynunet"):
        named = printable(kind)[:80]
        raise Otherwise(f"its network is {named}, and only DynUNet equals a network here")
    shapes = ("spatial_dims", "in_channels", "out_channels")  # its weights tell them
    config.content["network_def"] = {key: raw[key] for key in raw if key not in shapes}
    given = config("network_def")
    sizes = [_three(each) for each in given["kernel_size"]]
    strides = [_three(each) for each in given["strides"]]
    ups = [_three(each) for each in given["upsample_kernel_size"]]
    widths = given.get("filters") or [min(2 ** (5 + level), 320) for level in range(len(strides))]
    norm, norms = _named(given.get("norm_name", ["instance", {"affine": True}]))
    act, acts = _named(given.get("act_name", "leakyrelu"))
    known = {"kernel_size", "strides", "upsample_kernel_size", "filters", "dropout", "norm_name"}
    known |= {"act_name", "deep_supervision", "deep_supr_num", "res_block", "trans_bias"}
    faults = {
        "its network has options that DynUNet has not": not given.keys() <= known | {"_target_"},
        "its levels are fewer than three or not alike in number": len(sizes) != len(strides)
        or len(ups) != len(strides) - 1
        or len(widths) < len(strides)
        or len(strides) < 3,
        "its kernels differ between levels": len({*sizes}) != 1,
        "its kernels are even": not all(size % 2 for size in sizes[0]),
        "its first level is strided": set(strides[0]) != {1},
        "its strides are other than 1 and 2": not {*sum(strides, ())} <= {1, 2},
        "its upsample_kernel_size are not its strides": ups != strides[1:],
        "its norm is no instance norm": norm not in ("instance", "instance_nvfuser"),
        "its norm has other options": norms.get("eps", 1e-5) != 1e-5
        or not norms.keys() <= {"affine", "eps"},
        "its activation is no leaky ReLU of slope 0.01": act != "leakyrelu"
        or acts.get("negative_slope", 0.01) != 0.01,
    }
    if wrong := [fault for fault, there in faults.items() if there]:
        raise Otherwise(wrong[0])
    count, residual = len(strides), given.get("res_block", False) is True
    options = {
        "widths": tuple(int(width) for width in widths[:count]),
        "blocks": (1 if residual else 2,) * count,
        "decoder": (2,) * (count - 1),
        "kernels": tuple("".join(map(str, size)) for size in sizes),
        "residual": residual,
        "strided": residual,
    }
    return registry.spell("nnunet", options), tuple(strides[1:])


def _three(value: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in value) if isinstance(value, list) else (int(value),) * 3
    if len(sizes) != 3:
        raise Otherwise(f"its network has {len(sizes)} dimensions")
    return sizes


def _named(value: Any) -> tuple[str, dict[str, Any]]:
    """A layer's name and options, as `instance` or ["instance", {"affine": true}]."""
    name, options = value if isinstance(value, list) else (value, {})
    return str(name).lower(), dict(options)


def windows(config: Config, strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The patch, which is `roi_size` of a sliding window that pads with 0."""
    raw = config.content.get("inferer")
    kind = raw.get("_target_") if isinstance(raw, dict) else raw
    if not isinstance(raw, dict) or of_monai(kind) not in INFERERS:
        named = printable(kind)[:80]
        raise Otherwise(f"its inferer is {named}, and only SlidingWindowInferer is known")
    given = config("inferer::roi_size", raw.get("roi_size"))
    patch = _three(given)
    rest = {key: each for key, each in raw.items() if key not in BLENDED}
    known = {"padding_mode": ("constant",), "cval": (0, 0.0), "roi_weight_map": (None,)}
    idle(config, "inferer", rest, {**known, "with_coord": (False,)})
    factors = [1, 1, 1]
    for stride in strides:
        factors = [whole * step for whole, step in zip(factors, stride)]
    if min(patch) < 1 or any(size % factor for size, factor in zip(patch, factors)):
        raise Otherwise(f"its windows {patch} are no multiples of its strides")
    return patch


def _only(said: Any, kind: str) -> dict[str, Any]:
    found = list(said["network_data_format"][kind].values())
    if len(found) != 1:
        raise Otherwise(f"it has {len(found)} {kind}")
    return dict(found[0])


def _defined(given: Mapping[str, Any], *keys: str) -> list[str]:
    """Names by place, from the first of the keys that is there."""
    table = next((given[key] for key in keys if given.get(key)), None)
    if not isinstance(table, dict):
        raise Otherwise(f"its metadata has no {' or '.join(keys)}")
    numbers = sorted(int(key) for key in table)
    if numbers != list(range(len(numbers))):
        raise Otherwise(f"its metadata numbers the {keys[0]} other than 0, 1, 2, ...")
    return [printable(table[str(number)]).strip() for number in numbers]


def modalities(said: Any) -> tuple[str, ...]:
    """Names of the channels; one without a name of its own is called by its modality."""
    given = _only(said, "inputs")
    names = _defined(given, "channel_def")
    if len(names) == 1 and names[0].lower() in UNNAMED:
        names = [str(given.get("modality") or "image")]
    found = tuple(canonical(name) for name in names)
    if len(set(found)) < len(found):
        raise Otherwise("two of its channels have one name")
    return found


def classes(said: Any, kind: str) -> dict[str, int]:
    """Labels in the order of the outputs: a background and exclusive classes, or one region."""
    names = _defined(_only(said, "outputs"), "channel_def", "label_def")
    if kind == "sigmoid":
        if len(names) > 1 and names[0].lower() in BACKGROUND:
            names = names[1:]
        if len(names) > 1:
            raise Otherwise(
                "its outputs may overlap, and which labels they are made of is not said"
            )
        return {names[0]: 1}
    if names[0].lower() not in BACKGROUND or len(set(names)) < max(2, len(names)):
        raise Otherwise(f"its output 0 is {names[0]}, and not the background")
    return {name: place for place, name in enumerate(names) if place}


def renamed(
    path: Path, weights: Mapping[str, Tensor], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Their weights by the names that ours have in a member, each once."""
    count, residual = len(options["strides"]), options.get("res_block", False) is True
    found = {}
    for name, value in weights.items():
        bare = WRAPPED.sub("", name)
        if DROPPED.match(bare):
            continue
        ours = _ours(bare, count, RESIDUAL if residual else PLAIN)
        if not ours:
            cause = f"has weights of another network than DynUNet ('{printable(name)[:80]}')"
            raise BadFile(path, cause, REMEDY)
        found[ours] = value
    return found


def _ours(name: str, count: int, layers: Mapping[str, str]) -> str:
    stem, _, what = name.rpartition(".")
    if stem == "output_block.conv.conv":
        return f"heads.0.{what}"
    if match := re.fullmatch(r"upsamples\.(\d+)\.(.+)", stem):
        level, layer = count - 2 - int(match[1]), match[2]
        if layer == "transp_conv.conv":
            return f"up.{level}.{what}"
        part = PLAIN.get(layer.removeprefix("conv_block."))
        return f"decoder.{level}.{part}.{what}" if part else ""
    for theirs, first in PLACES.items():
        if match := re.fullmatch(f"{theirs}(?P<layer>.+)", stem):
            level = first + int(match.groupdict().get("down") or 0)
            part = layers.get(match["layer"])
            return f"encoder.{level % count}.{part}.{what}" if part else ""
    return ""


def absent(options: Mapping[str, Any]) -> Callable[[str], float | None]:
    """Values of weights that theirs have not: no biases, norms that only normalise, no heads."""
    affine = _named(options.get("norm_name", ["instance", {"affine": True}]))[1].get("affine")
    transposed = options.get("trans_bias", False) is True

    def value(name: str) -> float | None:
        part, _, what = name.rpartition(".")
        if part.startswith("heads."):
            return None if part == "heads.0" else 0.0
        if part.startswith("up."):
            return 0.0 if what == "bias" and not transposed else None
        if part.endswith(".1"):
            return None if affine else float(what == "weight")
        return 0.0 if what == "bias" else None

    return value


def two_classes(weights: dict[str, Tensor]) -> None:
    """One sigmoid of z is the softmax of 0 and z: a head whose background is always 0."""
    torch = require("torch", "train")
    for name in ("heads.0.weight", "heads.0.bias"):
        if name in weights:
            weights[name] = torch.cat([torch.zeros_like(weights[name]), weights[name]])


def described(config: Config, said: Mapping[str, Any]) -> dict[str, Any]:
    """The card: where it comes from, and what its answers are equal to."""
    inferer, blended = config.content["inferer"], {"overlap": "0.25", "mode": "constant"}
    for name in inferer.keys() & blended:
        with suppress(Otherwise):
            blended[name] = printable(config(f"inferer::{name}", inferer[name]))[:60]
    named = {"version": "version", "authors": "authors", "copyright": "copyright"}
    named |= {"data_source": "trained_on", "intended_use": "intended", "description": "title"}
    references = said.get("references")
    return {
        "name": str(said.get("name") or said.get("task") or ""),
        **{ours: printable(said[key])[:2000] for key, ours in named.items() if said.get(key)},
        "imported_from": "MONAI Bundle",
        "citation": "; ".join(printable(each) for each in references)[:4000]
        if isinstance(references, list)
        else "",
        "windows": f"overlap {blended['overlap']}, blending {blended['mode']} (not repeated here)",
        "answers": "those of its network in each window; windows lie and are blended as usual in "
        "oncoseg, and logits, not probabilities, are brought back to the scan",
        "licence": printable(said.get("license") or "that of the bundle"),
    }
