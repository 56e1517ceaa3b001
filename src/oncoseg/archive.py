"""The zip that a model file is: data alone, of limited size, verified member by member.

Nothing in it can run code; no name in it leads anywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from oncoseg import files
from oncoseg.errors import BadFile

FORMAT = "oncoseg-model-1"
REMEDY = "fetch or train the model again"
SUMS = "checksums.json"
MEMBERS = ("weights.safetensors", "plan.json", "network.json", "card.json", "LICENSE")
OPTIONAL = ("graph.onnx", "posthoc.json", "appearance.json")
LARGEST = 2 << 30
RATIO, SPARE = 20, 64 << 20  # unpacked bytes: at most 20 times the file, and 64 MB
KEPT = PIECE = 1 << 20  # bytes up to which a member is kept in memory, and read at once
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and json raise on bytes that were changed, beside errors of their own.
BROKEN = (OSError, ValueError, EOFError, RuntimeError, KeyError)


class Members(Mapping[str, bytes]):
    """What a model file holds, by name: all of it is verified when it is opened.

    What is large is not kept, but read and verified again whenever it is asked for: of its weights
    and its graph, which say the same, most who open a model use one, and once.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, dict[str, bytes]()
        with opening(path), zipfile.ZipFile(path) as archive:
            self.sizes = _sizes(path, archive)
            self.record = files.parsed_json(archive.read(SUMS))
            if not isinstance(self.record, dict) or self.record.get("format") != FORMAT:
                cause, remedy = f"is not of the format {FORMAT}", "use the version that made it"
                raise BadFile(path, cause, remedy)
            if gone := self.record.keys() - self.sizes.keys() - {"format", SUMS}:
                raise BadFile(path, f"lacks its {', '.join(sorted(gone))}", REMEDY)
            for name, size in self.sizes.items():
                pieces = self._verified(archive, name)
                if size > KEPT:
                    deque(pieces, maxlen=0)
                else:
                    self.kept[name] = b"".join(pieces)

    def __getitem__(self, name: str) -> bytes:
        if name in self.kept or name not in self.sizes:
            return self.kept[name]
        with opening(self.path), zipfile.ZipFile(self.path) as archive:
            content = io.BytesIO()  # gives its bytes without a copy
            content.writelines(self._verified(archive, name))
            return content.getvalue()

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    def _verified(self, archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
        """The pieces of a member; raises `BadFile` at its end unless it is what was written."""
        digest = hashlib.sha256()
        with archive.open(name) as member:
            while piece := member.read(PIECE):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != self.record.get(name):
            cause = f"its {name} is not what was written (its checksum differs)"
            raise BadFile(self.path, cause, REMEDY)


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn what is raised on a file that is no model into a sentence on it."""
    try:
        yield
    except FileNotFoundError as error:
        remedy = "check the path, or see 'oncoseg list models'"
        raise BadFile(path, "does not exist", remedy) from error
    except (*BROKEN, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        cause = " ".join(str(error).split())
        raise BadFile(path, f"is not a whole model file ({cause})", REMEDY) from error


def _sizes(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """Name -> bytes of every member, if they are those of a model and not too large."""
    infos = archive.infolist()
    there = [info.filename for info in infos]
    needed, known = {*MEMBERS, SUMS}, {*MEMBERS, *OPTIONAL, SUMS}
    if len(set(there)) < len(there) or not needed <= set(there) <= known:
        held, wanted = ", ".join(map(repr, sorted(there))), ", ".join(sorted(needed))
        raise BadFile(path, f"holds {held} where a model holds {wanted}", REMEDY)
    packed, unpacked = path.stat().st_size, sum(info.file_size for info in infos)
    if unpacked > LARGEST:
        raise BadFile(path, "would unpack to more than 2 GB", REMEDY)
    if unpacked > RATIO * packed + SPARE:
        cause = f"would unpack to {unpacked} bytes, more than {RATIO} times its size"
        raise BadFile(path, cause, REMEDY)
    if any(info.compress_type not in PLAIN for info in infos):
        raise BadFile(path, "is packed in another way than deflate", REMEDY)
    return {info.filename: info.file_size for info in infos if info.filename != SUMS}


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a model file: its members, and their checksums."""
    sums = {
        "format": FORMAT,
        **{name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**members, SUMS: json.dumps(sums, indent=2).encode()}.items():
            kind = zipfile.ZIP_STORED if len(content) > KEPT else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, kind)  # weights do not get smaller
    return files.write_bytes(path, buffer.getvalue())
