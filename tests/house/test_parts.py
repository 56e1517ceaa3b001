"""House rules on parts: a card, a class named as the file, typed options, a test of its own."""

import ast
import datetime as dt
from pathlib import Path

import pytest

from oncoseg import registry

REPO = Path(__file__).parents[2]
PARTS = [(slot, name) for slot in registry.SLOTS for name in registry.names(slot)]
GIVEN = {"task", "network", "loss"}  # what `build` hands over by position, never an option

pytestmark = pytest.mark.parametrize(("slot", "name"), PARTS, ids=[f"{s}-{n}" for s, n in PARTS])


def tree_of(slot, name):
    path = registry.HERE / slot / f"{name}.py"
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def class_of(slot, name):
    classes = [node for node in tree_of(slot, name).body if isinstance(node, ast.ClassDef)]
    named = [node for node in classes if node.name == registry.class_name(name)]
    assert named, f"{slot}/{name}.py has no class {registry.class_name(name)}"
    return named[0]


def test_the_first_line_says_the_idea(slot, name):
    assert (ast.get_docstring(tree_of(slot, name)) or "").strip(), f"{slot}/{name}.py says nothing"


def test_the_card_names_its_source(slot, name):
    card = registry.entry(slot, name).card
    assert card.title, f"{slot}/{name}.py has no CARD with a title"
    assert 1800 < card.year <= dt.datetime.now(tz=dt.timezone.utc).year
    assert len(card.arxiv.split(".")) in (1, 2)
    assert not card.doi.startswith("http"), "a doi is written 10.1234/abc, without an address"


def test_the_class_is_named_as_the_file(slot, name):
    class_of(slot, name)


def test_options_are_keyword_only_and_typed(slot, name):
    for node in class_of(slot, name).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            positional = [word.arg for word in [*node.args.posonlyargs, *node.args.args]][1:]
            assert set(positional) <= GIVEN, f"{slot}/{name}.py: {positional} before the *"
            assert node.args.vararg is None
            assert node.args.kwarg is None
            for word in node.args.kwonlyargs:
                assert word.annotation, f"{slot}/{name}.py: option {word.arg} has no type"


def test_it_has_a_test(slot, name):
    path = REPO / "tests" / "parts" / slot / f"test_{name}.py"
    assert path.exists(), f"{path.relative_to(REPO)} is missing"
    tests = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert tests, f"{path.name} tests nothing"
