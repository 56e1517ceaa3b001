"""Pseudonyms: the same person, and the same UID, get the same new name wherever one key is used.

Keyed (HMAC-SHA256), since a plain digest of a patient's number is undone by trying all numbers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from oncoseg import files
from oncoseg.errors import BadFile

BYTES = 32
LETTERS = 12


@dataclass(frozen=True)
class Pseudonyms:
    """Names and UIDs under one secret key; without a key everything keeps its own."""

    key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, path: Path) -> Pseudonyms:
        """The key kept in a file, which is made, for its owner alone, where there is none.

        Raises `BadFile` if the file holds anything else than such a key.
        """
        path = Path(path)
        if not path.exists():
            with files.atomic(path) as temporary:
                temporary.chmod(0o600)
                temporary.write_text(secrets.token_hex(BYTES) + "\n", encoding="ascii")
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise BadFile(
                path, "holds no key for pseudonyms", "name a file not yet there"
            ) from error
        if len(key) != BYTES:
            raise BadFile(path, "holds no whole key for pseudonyms", "name a file not yet there")
        return cls(key)

    def __bool__(self) -> bool:
        return bool(self.key)

    def name(self, identity: str) -> str:
        """`P` and twelve letters (60 bits), which do not tell the identity."""
        if not self:
            return identity
        return "P" + base64.b32encode(self._digest(f"name\0{identity}")).decode()[:LETTERS]

    def uid(self, uid: str) -> str:
        """A UID in the arc of UUIDs (2.25) for a UID; an empty one stays empty."""
        if not (self and uid):
            return uid
        return _uid(self._digest(f"uid\0{uid}"))

    def _digest(self, text: str) -> bytes:
        return hmac.new(self.key, text.encode(), hashlib.sha256).digest()


def uid_of(*words: str) -> str:
    """A UID that is the same whenever the words are."""
    return _uid(hashlib.sha256("\0".join(words).encode()).digest())


def _uid(digest: bytes) -> str:
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
