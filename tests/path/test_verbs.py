"""A verb of the package is called by its name, and is still the module that holds it."""

import importlib
import subprocess
import sys

import pytest

import oncoseg

VERBS = [name for name in oncoseg._VERBS if name not in ("read", "sample")]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_its_function(name):
    module = importlib.import_module(f"oncoseg.{name}")
    assert getattr(oncoseg, name) is module
    function = getattr(module, name)
    with pytest.raises(TypeError, match=rf"^{name}\(\) missing .* required positional"):
        module()
    assert callable(function)
    assert function.__module__ == f"oncoseg.{name}"


def test_it_is_one_whichever_way_it_was_imported_first():
    words = (
        "from oncoseg.evaluate import evaluate; import oncoseg, oncoseg.evaluate as other;"
        "assert oncoseg.evaluate is other; oncoseg.evaluate([[1]], [[1]], metrics='dice')"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
