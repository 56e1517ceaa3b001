"""What a region is, told by its name: tumour, lymph node, enhancing or not."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oncoseg.case import Task

TUMOUR = re.compile(
    r"tumou?r|cancer|carcinoma|metasta|lesion|neoplas|\bmass\b|\bgtv|lymphoma|glioma"
)
NODE = re.compile(r"lymph ?nodes?\b|\bnodes?\b|\bnodal\b|\bgtv ?n")
APART = re.compile(r"non ?(contrast )?enhanc|\bnet\b|\bnon ?ce\b|\bnenh\b")
ENHANCING = re.compile(r"enhanc|\bet\b|\bce\b")


def plain(name: str) -> str:
    """Lower case, with blanks for what else stands between words."""
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def outermost(task: Task, names: Iterable[str]) -> list[str]:
    """Regions that no other of them holds: of one tumour's nested regions the whole."""
    members = {name: set(task.regions[name]) for name in names}
    return [
        name
        for name, held in members.items()
        if not any(held < other for other in members.values())
        and name == next(key for key, other in members.items() if other == held)
    ]


def tumours(task: Task) -> list[str]:
    """The outermost of regions named as tumour or node; of all, if none is."""
    named = [name for name in task.regions if TUMOUR.search(plain(name)) or is_node(name)]
    return outermost(task, named or task.regions)


def is_node(name: str) -> bool:
    """Whether a region or lesion is named as lymph node."""
    return bool(NODE.search(plain(name)))


def enhancing(task: Task) -> list[str]:
    """Regions named as contrast-enhancing."""
    found = [name for name in task.regions if ENHANCING.search(plain(name))]
    return [name for name in found if not APART.search(plain(name))]


def not_enhancing(task: Task) -> list[str]:
    """Regions named as tumour that does not enhance."""
    return [name for name in task.regions if APART.search(plain(name))]
