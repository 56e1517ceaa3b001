"""Weights of a foreign checkpoint: read by a process of its own, as tensors and nothing else.

A checkpoint of torch is a pickle, which could run code. The process loads it with weights alone
allowed, in bounded memory and time, and hands tensors over as safetensors. What goes wrong in it
ends that process and is a sentence here. Then they are put into a network of ours, if all fit.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncoseg.errors import BadFile, printable
from oncoseg.extras import require
from oncoseg.files import parsed_json

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 4 << 30  # bytes of a checkpoint, and of the tensors in it
MEMORY = 24 << 30  # of addresses, most of which no page ever stands behind
SECONDS = 600
WORDS = ("trainer_name", "configuration", "inference_allowed_mirroring_axes", "current_epoch")
REMEDY = "check that it is the checkpoint of a finished training"
WRAPPED = re.compile(r"^(module\.|_orig_mod\.)+")


class Otherwise(Exception):
    """Something that another program does and we do not."""


def read(
    path: Path, names: str = "network_weights", *, bare: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and what the checkpoint says of its training; raises `BadFile`.

    `names` are those, with commas between, that its weights may have there; they may also be all
    that it holds, if `bare`.
    """
    require("torch", "train")
    safetensors = require("safetensors", "train")
    _check(path)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "weights.safetensors"
        # The folder is empty, so that no module can stand there in place of one of ours.
        words = [
            "-m",
            "oncoseg.foreign.weights",
            str(path.resolve()),
            str(target),
            names,
            "bare" * bare,
        ]
        try:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=folder,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadFile(path, f"took more than {SECONDS} s to read", REMEDY) from error
        if done.returncode or not target.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it ended"]
            cause = f"cannot be read as weights alone ({printable(said[-1])[:200]})"
            raise BadFile(path, cause, REMEDY)
        with safetensors.safe_open(str(target), framework="pt") as handle:
            words = parsed_json((handle.metadata() or {}).get("words", "{}"))
            return {name: handle.get_tensor(name) for name in list(handle.keys())}, words


def _check(path: Path) -> None:
    """Refuse what is not a zip of torch's own kind: uncompressed, and not too large."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            plain = all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    except FileNotFoundError as error:
        raise BadFile(path, "does not exist", "check the folder") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadFile(path, f"is not a whole checkpoint ({printable(error)})", REMEDY) from error
    if not plain:
        raise BadFile(path, "is packed as torch packs no checkpoint", REMEDY)
    if size > LARGEST:
        raise BadFile(path, f"is larger than {LARGEST >> 30} GB", REMEDY)


def fill(
    path: Path,
    own: dict[str, Tensor],
    theirs: Mapping[str, Tensor],
    prefix: str,
    said: str,
    absent: Callable[[str], float | None],
) -> None:
    """Put weights into those of our network that begin with `prefix`; `BadFile` unless all fit.

    Those of two dimensions become flat ones of three. `absent` gives the value of one that they do
    not have, or None if they must; `said` is where the network is described.
    """
    torch = require("torch", "train")
    left = dict(theirs)
    for name in [name for name in own if name.startswith(prefix)]:
        bare, shape = name.removeprefix(prefix), own[name].shape
        value, constant = left.pop(bare, None), absent(bare)
        if value is None and constant is not None:
            value = torch.full(shape, constant)
        if value is not None and value.ndim == len(shape) - 1 and value.ndim > 1:
            value = value.unsqueeze(2)
        if value is None or value.shape != shape:
            cause = f"lacks weights of the network that {said} ('{bare}')"
            raise BadFile(path, cause, REMEDY)
        own[name] = value.float()
    if left:
        cause = f"has weights of another network than {said} ('{next(iter(left))}')"
        raise BadFile(path, cause, REMEDY)


def main(source: str, target: str, names: str, bare: str) -> None:
    """What the process does; ends it with a sentence where that cannot be done."""
    torch, numpy = require("torch", "train"), require("numpy", "train")
    save = importlib.import_module("safetensors.torch").save_file
    _bound()
    scalar = getattr(numpy, "_core", None) or numpy.core
    kinds = [type(numpy.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")]
    known = [scalar.multiarray.scalar, numpy.dtype, *kinds]
    older = [(known[0], f"numpy.{name}.multiarray.scalar") for name in ("core", "_core")]
    torch.serialization.add_safe_globals([*known, *older])
    content = torch.load(source, map_location="cpu", weights_only=True)
    held = content if isinstance(content, dict) else {}
    found = [held[name] for name in names.split(",") if isinstance(held.get(name), Mapping)]
    if not found and bare and any(map(torch.is_tensor, held.values())):
        found = [held]
    if not found:
        raise SystemExit(f"it holds no {names.replace(',', ' or ')}")
    tensors = {str(name): value for name, value in found[0].items() if torch.is_tensor(value)}
    if sum(value.numel() * value.element_size() for value in tensors.values()) > LARGEST:
        raise SystemExit(f"its weights take more than {LARGEST >> 30} GB")
    started = held.get("init_args")
    words = {**(started if isinstance(started, dict) else {}), **held}
    words = {name: words[name] for name in WORDS if name in words}
    copies = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    save(copies, target, metadata={"words": json.dumps(words, default=str)})


def _bound() -> None:
    """Bound the memory of this process where the system can."""
    if sys.platform != "win32":
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main(*sys.argv[1:])
