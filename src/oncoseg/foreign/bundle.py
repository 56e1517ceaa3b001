"""What a MONAI Bundle says of preparing scans, read as literals alone.

A configuration may hold expressions, which are code. None is evaluated: where one is needed, the
bundle is refused. References (`@name`) to literals are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oncoseg.errors import printable
from oncoseg.foreign.weights import Otherwise
from oncoseg.prepare.plan import Normalisation
from oncoseg.prepare.stretch import Stretch

REFERENCE = re.compile(r"@\w+((#|::)\w+)*")
DEEPEST = 20
NEVER = 1e9  # times longer than any voxel is
FARTHEST = 1e30  # further than any intensity
FLOATS = (None, "float32", "torch.float32", "$torch.float32", "$np.float32", "$numpy.float32")
DOUBLES = (*FLOATS, "float64", "torch.float64", "$torch.float64", "$np.float64", "$numpy.float64")
READERS = (None, "itkreader", "nibabelreader", "monai.data.itkreader", "monai.data.nibabelreader")
DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ANY = object()
# Options of a transform that change no voxel, and their values if only some do not.
USUAL: dict[str, Any] = {
    **dict.fromkeys(
        (
            *("keys", "device", "meta_keys", "meta_key_postfix", "image_only", "overwriting"),
            *("track_meta", "data_type", "wrap_sequence", "simple_keys", "strict_check"),
            *("allow_missing_keys", "ensure_channel_first", "_target_", "_requires_", "_desc_"),
        ),
        ANY,
    ),
    "dtype": FLOATS,
    "lazy": (None, False),
}
IDLE: dict[str, dict[str, Any]] = {
    "LoadImage": {"reader": READERS, "affine_lps_to_ras": (True,)},
    "EnsureChannelFirst": {"channel_dim": (None, "no_channel")},
    "EnsureType": {},
    "CastToType": {},
    "ToTensor": {},
}
AFTERWARDS = ("Invert", "EnsureType", "ToTensor", "SaveImage", "DeleteItems", "CopyItems")


class Config:
    """A configuration whose values are looked up; raises `Otherwise` where one is no literal."""

    def __init__(self, content: Any) -> None:
        if not isinstance(content, dict):
            raise TypeError("it is no table of names and values")
        self.content = content

    def __call__(self, where: str, value: Any = ANY) -> Any:
        """The value of a key, or the given one at that place, with its references looked up."""
        found = self.content[where] if value is ANY else value
        return self._literal(where, found, 0)

    def _literal(self, where: str, value: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise Otherwise(f"its {where} refers to itself")
        if isinstance(value, dict):
            return {
                name: self._literal(f"{where}::{name}", each, depth + 1)
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [
                self._literal(f"{where}::{place}", each, depth + 1)
                for place, each in enumerate(value)
            ]
        if not isinstance(value, str) or value in DOUBLES:
            return value
        if value[:1] in ("$", "%"):
            raise Otherwise(f"its {where} is an expression ({value[:60]}), which is not evaluated")
        if REFERENCE.fullmatch(value):
            return self._literal(where, self._named(where, value), depth + 1)
        return value

    def _named(self, where: str, reference: str) -> Any:
        found: Any = self.content
        for name in re.split("#|::", reference[1:]):
            try:
                found = found[int(name) if isinstance(found, list) else name]
            except (IndexError, KeyError, TypeError, ValueError) as error:
                cause = f"its {where} refers to {reference}, which is not there"
                raise Otherwise(cause) from error
        return found

    def steps(self, where: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Name, place and options of each transform of a `Compose` that is not disabled.

        Options are as they stand, references and all.
        """
        given = self.content.get(where)
        if isinstance(given, str) and REFERENCE.fullmatch(given):
            given = self._named(where, given)
        if not isinstance(given, dict) or of_monai(given.get("_target_")) != "Compose":
            raise Otherwise(f"its {where} is no Compose of transforms that can be read")
        listed = given.get("transforms")
        if isinstance(listed, str) and REFERENCE.fullmatch(listed):
            listed = self._named(where, listed)
        if not isinstance(listed, list):
            raise Otherwise(f"its {where}::transforms is no list, and nothing is evaluated")
        for place, each in enumerate(listed):
            path = f"{where}::transforms::{place}"
            step = self._named(path, each) if isinstance(each, str) else each
            off = self(f"{path}::_disabled_", step.get("_disabled_", False))
            if not isinstance(off, bool):
                raise Otherwise(f"its {path}::_disabled_ is neither true nor false")
            name = of_monai(step.get("_target_"))
            bare = re.fullmatch(r"(\w+?)(d|D|Dict)", name)
            if not off:
                options = {key: each for key, each in step.items() if key != "_disabled_"}
                yield (bare[1] if bare else name), path, options


def of_monai(target: Any) -> str:
    """The name of a class of MONAI; "" for those of others and what is no name."""
    if not isinstance(target, str) or not re.fullmatch(r"(monai(\.\w+)*\.)?\w+", target):
        return ""
    return target.rpartition(".")[2]


@dataclass(frozen=True)
class Preparation:
    """What the transforms read so far make of a scan."""

    rule: Stretch
    spacing: tuple[float, ...] = ()
    scheme: Normalisation | None = None
    key: Any = None


def prepared(config: Config, channels: int) -> Preparation:
    """How the transforms of `preprocessing` prepare scans of so many channels.

    Raises `Otherwise` on one that cannot be said in a plan.
    """
    whole = Stretch((0, 1, 2), order=1, apart=NEVER, whole=True, pinned=True, own=True)
    found = Preparation(whole)
    for name, where, step in config.steps("preprocessing"):
        if name not in (*IDLE, *CHANGES):
            named = printable(step.get("_target_") or name or where)
            raise Otherwise(f"its scans go through {named} ({where})")
        key = config(f"{where}::keys", step.get("keys"))
        key = key[0] if isinstance(key, list) and len(key) == 1 else key
        if not isinstance(key, str) or found.key not in (None, key):
            raise Otherwise(f"its {where} has keys other than that of one image")
        found = replace(found, key=key)
        if name in IDLE:
            idle(config, where, step, IDLE[name])
        else:
            found = CHANGES[name](config, where, step, found, channels)
    return found


def idle(config: Config, where: str, step: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise `Otherwise` on options of a transform that may change voxels, other than `known`."""
    for name, given in step.items():
        allowed = {**USUAL, **known}.get(name, ())
        if allowed is ANY:
            continue
        value = config(f"{where}::{name}", given)
        plain = value.lower() if name == "reader" and isinstance(value, str) else value
        if not any(
            plain is each or (plain == each and type(plain) is type(each)) for each in allowed
        ):
            raise Otherwise(f"its {where} has {name}={printable(value)[:60]}")


def orientation(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """Axes that run as `axcodes` say, each letter the direction of larger indices."""
    del channels
    given = config(f"{where}::axcodes", step.get("axcodes"))
    canonical = config(f"{where}::as_closest_canonical", step.get("as_closest_canonical", False))
    code = "RAS" if canonical is True else str(given).upper()
    rest = {
        key: each for key, each in step.items() if key not in ("axcodes", "as_closest_canonical")
    }
    idle(config, where, rest, {"labels": (None,)})
    places = [DIRECTIONS[letter] for letter in code if letter in DIRECTIONS]
    if sorted(axis for axis, _ in places) != [0, 1, 2] or len(code) != 3:
        raise Otherwise(f"its {where} has axcodes={printable(code)[:60]}")
    if so_far.spacing or so_far.rule.cropped:
        raise Otherwise(f"its {where} turns scans after they were resampled or cropped")
    axes, signs = (tuple(each) for each in zip(*places))
    return replace(so_far, rule=replace(so_far.rule, axes=axes, signs=signs, turned=True))


def spacing(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """Voxels of `pixdim` mm, between which images are interpolated linearly."""
    del channels
    given = config(f"{where}::pixdim", step.get("pixdim"))
    mode = config(f"{where}::mode", step.get("mode", "bilinear"))
    rest = {key: each for key, each in step.items() if key not in ("pixdim", "mode")}
    fixed = (False, None)
    known = {
        "diagonal": fixed,
        "scale_extent": fixed,
        "recompute_affine": fixed,
        "min_pixdim": (None,),
        "max_pixdim": (None,),
        "padding_mode": ("border",),
        "align_corners": (True, False, None),
        "dtype": DOUBLES,
    }
    idle(config, where, rest, known)
    if mode not in ("bilinear", ["bilinear"]):
        raise Otherwise(f"its {where} has mode={printable(mode)[:60]}")
    lengths = given if isinstance(given, list) else [given]
    lengths = [float(length) for length in (*lengths, *[lengths[-1]] * 2)[:3]]
    if min(lengths) <= 0:
        raise Otherwise(f"its {where} keeps the spacing of some axes")
    if so_far.spacing or so_far.rule.cropped:
        raise Otherwise(f"its {where} resamples scans that were resampled or cropped before")
    return replace(so_far, spacing=tuple(lengths), rule=replace(so_far.rule, own=False))


def normalised(where: str, so_far: Preparation, scheme: Normalisation) -> Preparation:
    """With a normalisation; two are one where the second undoes what the first has done."""
    before = so_far.scheme
    undone = before is not None and (before.scheme, scheme.scheme) == ("unit", "zscore")
    late = bool(so_far.spacing)
    if (before and not undone) or (undone and late != so_far.rule.late) or so_far.rule.cropped:
        raise Otherwise(f"its {where} changes intensities a second time, or after cropping")
    return replace(so_far, scheme=scheme, rule=replace(so_far.rule, late=late))


def ranged(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """`ScaleIntensityRange`: [a_min, a_max] to [b_min, b_max] and clipped to it, if it says so."""
    del channels
    names = ("a_min", "a_max", "b_min", "b_max")
    idle(config, where, {key: step[key] for key in step if key not in (*names, "clip")}, {})
    a_min, a_max, b_min, b_max = (config(f"{where}::{key}", step.get(key)) for key in names)
    clip = config(f"{where}::clip", step.get("clip", False))
    numbers = [each for each in (a_min, a_max, b_min, b_max) if _number(each)]
    if len(numbers) < 4 or not isinstance(clip, bool) or a_min >= a_max or b_min >= b_max:
        raise Otherwise(f"its {where} has no two rising ranges of numbers")
    deviation = (a_max - a_min) / (b_max - b_min)
    edges = (float(a_min), float(a_max)) if clip else (-FARTHEST, FARTHEST)
    scheme = Normalisation("dataset", *edges, a_min - b_min * deviation, deviation)
    return normalised(where, so_far, scheme)


def unit(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """`ScaleIntensity`: from 0 to 1 between the least and the largest value of a scan."""
    known = {"minv": (0, 0.0), "maxv": (1, 1.0), "factor": (None,)}
    each = config(f"{where}::channel_wise", step.get("channel_wise", False))
    idle(config, where, {key: step[key] for key in step if key != "channel_wise"}, known)
    if channels > 1 and each is not True:
        raise Otherwise(f"its {where} scales all channels by one range")
    return normalised(where, so_far, Normalisation("unit"))


def zscore(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """`NormalizeIntensity`: mean 0 and deviation 1, over all voxels or those that are not 0."""
    names = ("nonzero", "channel_wise")
    nonzero, each = (config(f"{where}::{key}", step.get(key, False)) for key in names)
    rest = {key: step[key] for key in step if key not in names}
    idle(config, where, rest, {"subtrahend": (None,), "divisor": (None,)})
    if not isinstance(nonzero, bool) or not isinstance(each, bool):
        raise Otherwise(f"its {where} has switches that are neither true nor false")
    if channels > 1 and not each:
        raise Otherwise(f"its {where} normalises all channels by one mean")
    return normalised(where, so_far, Normalisation("nonzero" if nonzero else "zscore"))


def cropped(
    config: Config, where: str, step: Mapping[str, Any], so_far: Preparation, channels: int
) -> Preparation:
    """`CropForeground`: cut to where any channel is above 0."""
    del channels
    source = config(f"{where}::source_key", step.get("source_key"))
    known = {
        "select_fn": (),
        "channel_indices": (None,),
        "margin": (0, [0, 0, 0]),
        "k_divisible": (1, [1, 1, 1]),
        "allow_smaller": (True, False),
        "mode": ANY,
        "start_coord_key": ANY,
        "end_coord_key": ANY,
        "return_coords": (None, False),
    }
    idle(config, where, {key: step[key] for key in step if key != "source_key"}, known)
    if source != so_far.key:
        raise Otherwise(f"its {where} crops by another image")
    return replace(so_far, rule=replace(so_far.rule, cropped=True))


CHANGES = {
    "Orientation": orientation,
    "Spacing": spacing,
    "ScaleIntensityRange": ranged,
    "ScaleIntensity": unit,
    "NormalizeIntensity": zscore,
    "CropForeground": cropped,
}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def outputs(config: Config) -> str:
    """What `postprocessing` makes of outputs: `softmax`, of exclusive classes, or `sigmoid`.

    Raises `Otherwise` on what changes the label maps that follow.
    """
    said = set()
    for name, where, step in config.steps("postprocessing"):
        if name == "Activations":
            said |= {
                key
                for key in ("softmax", "sigmoid")
                if config(f"{where}::{key}", step.get(key, False)) is True
            }
            idle(
                config,
                where,
                step,
                {**dict.fromkeys(("softmax", "sigmoid"), ANY), "other": (None,)},
            )
        elif name == "AsDiscrete":
            threshold = config(f"{where}::threshold", step.get("threshold"))
            argmax = config(f"{where}::argmax", step.get("argmax", False))
            said |= {"softmax"} if argmax is True else set()
            rest = {key: each for key, each in step.items() if key not in ("threshold", "argmax")}
            idle(config, where, rest, {"to_onehot": ANY, "rounding": (None,)})
            if threshold not in (None, 0.5):
                raise Otherwise(f"its {where} has threshold={printable(threshold)[:60]}")
        elif name not in AFTERWARDS:
            named = printable(step.get("_target_") or name or where)
            raise Otherwise(f"its answers go through {named} ({where})")
    if len(said) != 1:
        raise Otherwise("its postprocessing does not say whether outputs are exclusive classes")
    return said.pop()
