"""A module is the verb that it holds: `oncoseg.predict(...)` is `oncoseg.predict.predict(...)`.

`import oncoseg.predict` and `from oncoseg.predict import ...` stay what they are.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A module that is called as its function of the same name."""

    def __call__(self, *given: Any, **options: Any) -> Any:
        """What the function says."""
        return getattr(self, self.__name__.rpartition(".")[2])(*given, **options)


def called(name: str) -> None:
    """Let a module, by its `__name__`, be called."""
    sys.modules[name].__class__ = Verb
