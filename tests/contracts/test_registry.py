"""The registry: cards without importing, options as in the constructor, errors with a hint."""

import ast
import importlib
import subprocess
import sys

import pytest

from oncoseg import registry
from oncoseg.errors import BadData, BadOption, UnknownName

PARTS = [(slot, name) for slot in registry.SLOTS for name in registry.names(slot)]
EVERY_PART = pytest.mark.parametrize(("slot", "name"), PARTS, ids=[f"{s}-{n}" for s, n in PARTS])

TOY = '''
"""A toy: the idea in a line.

More of it.
"""

from oncoseg.registry import Card

raise RuntimeError("imported")

CARD = Card("On Toys", 1999, arxiv="9901.00001", reading="The toy is ours.")


class Other:
    def __init__(self, *, wrong: int = 3) -> None: ...


class ToyPart:
    def __init__(
        self,
        task: str,
        *,
        width: int = 8,
        rate: float = 0.5,
        flip: bool = False,
        mode: str = "plain",
        sizes: tuple[int, ...] = (1, 2),
        needed: int,
    ) -> None: ...
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A package of one loss, `toy_part`, that cannot be imported."""
    for slot in registry.SLOTS:
        (tmp_path / slot).mkdir()
    (tmp_path / "losses" / "toy_part.py").write_text(TOY, encoding="utf-8")
    (tmp_path / "losses" / "_private.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(registry, "HERE", tmp_path)
    registry.entry.cache_clear()
    yield
    registry.entry.cache_clear()


def test_a_card_is_read_without_importing(toys):
    found = registry.entry("losses", "toy_part")
    assert registry.names("losses") == ["toy_part"]
    assert found.summary == "A toy: the idea in a line."
    assert found.card == registry.Card(
        "On Toys", 1999, arxiv="9901.00001", reading="The toy is ours."
    )
    assert [option.name for option in found.options] == [
        *("width", "rate", "flip", "mode", "sizes", "needed")
    ]
    assert found.options[4].default == (1, 2)
    assert found.options[5].required
    assert (found.module, found.type_name) == ("oncoseg.losses.toy_part", "ToyPart")


def test_listing_everything_imports_no_part():
    script = (
        "import sys; from oncoseg import registry; "
        "[registry.entries(slot) for slot in registry.SLOTS]; "
        "slots = tuple('oncoseg.' + slot for slot in registry.SLOTS); "
        "print([n for n in sys.modules if n.startswith(slots) or n in ('torch', 'numpy')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("toy_part", {}),
        ("toy_part:", {}),
        ("toy_part:width=3", {"width": 3}),
        (" toy_part : width = 3 , rate=1e-3", {"width": 3, "rate": 1e-3}),
        ("toy_part:flip=yes,mode=a b", {"flip": True, "mode": "a b"}),
        ("toy_part:flip=0,sizes=4x5x6", {"flip": False, "sizes": (4, 5, 6)}),
        ("toy_part:sizes=(7)", {"sizes": (7,)}),
    ],
)
def test_options_take_their_types(toys, text, values):
    name, found = registry.parse("losses", text)
    assert (name, found) == ("toy_part", values)
    assert [type(value) for value in found.values()] == [type(v) for v in values.values()]
    assert registry.parse("losses", registry.spell(name, found)) == (name, found)


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("toy_prat", UnknownName, "no loss 'toy_prat'; did you mean toy_part?"),
        ("zzz", UnknownName, "no loss 'zzz'; there are toy_part"),
        ("toy_part:widht=3", BadOption, "ToyPart has no option 'widht'; it has width, rate,"),
        ("toy_part:width=wide", BadOption, "option 'width' of ToyPart takes int, not 'wide'"),
        ("toy_part:flip=perhaps", BadOption, "option 'flip' of ToyPart takes bool"),
        ("toy_part:sizes=1xb", BadOption, "takes tuple[int, ...], not '1xb'"),
        ("toy_part:width", BadOption, "option 'width' of ToyPart takes int"),
        ("toy_part:task=x", BadOption, "ToyPart has no option 'task'"),
    ],
)
def test_wrong_words_say_what_would_be_right(toys, text, kind, sentence):
    with pytest.raises(kind) as error:
        registry.parse("losses", text)
    assert sentence in str(error.value)


def test_an_unknown_slot_has_a_hint():
    with pytest.raises(UnknownName, match=r"no slot 'metric'; did you mean metrics"):
        registry.names("metric")


def test_build_refuses_an_option_before_it_imports(toys):
    with pytest.raises(BadOption, match="no option 'depth'"):
        registry.build("losses", "toy_part:depth=3")


def test_build_refuses_a_keyword_that_the_part_has_not():
    with pytest.raises(BadOption, match="Dice has no option 'depth'; it has no options"):
        registry.build("metrics", "dice", depth=3)


def test_a_part_named_with_options_stands_in_brackets(toys):
    text = "toy_part:mode=(other:a=1,b=(c:d=2)),width=3"
    name, found = registry.parse("losses", text)
    assert (name, found) == ("toy_part", {"mode": "other:a=1,b=(c:d=2)", "width": 3})
    assert registry.parse("losses", registry.spell(name, found)) == (name, found)
    for wrong in ("toy_part:mode=(a", "toy_part:mode=a)"):
        with pytest.raises(BadOption, match="brackets"):
            registry.parse("losses", wrong)


def test_a_file_without_its_class_is_said(toys, tmp_path):
    (tmp_path / "losses" / "lost.py").write_text("class Found: ...", encoding="utf-8")
    with pytest.raises(BadData, match=r"lost\.py: holds no class Lost; name it so"):
        registry.entry("losses", "lost")


@EVERY_PART
def test_parsed_options_are_those_of_the_class(slot, name):
    found = registry.entry(slot, name)
    kind = getattr(importlib.import_module(found.module), found.type_name)
    real = registry.options_of(kind)
    inherited = "__init__" not in vars(kind)
    assert [option.name for option in found.options] == ([] if inherited else list(real))
    for option in found.options:
        parameter = real[option.name]
        assert option.required == (parameter.default is parameter.empty)
        if not option.required:
            assert option.default == parameter.default
        assert option.type == ast.unparse(ast.parse(str(parameter.annotation), mode="eval"))


@pytest.mark.parametrize(
    ("slot", "word"), [("methods", "needs"), ("networks", "gives"), ("networks", "only")]
)
def test_what_is_read_without_importing_is_what_the_class_says(slot, word):
    for found in registry.entries(slot):
        assert getattr(found, word) == tuple(getattr(registry.load(slot, found.name), word))


@EVERY_PART
def test_defaults_survive_being_spelt_and_parsed(slot, name):
    options = registry.entry(slot, name).options
    defaults = {option.name: option.default for option in options if not option.required}
    plain = {key: value for key, value in defaults.items() if value not in ("", ())}
    assert registry.parse(slot, registry.spell(name, plain)) == (name, plain)
