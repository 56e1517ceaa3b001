"""Adding a network, a method or a loss touches one file: its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import oncoseg
from runs import toy_data

NETWORK = '''
"""One convolution."""

from torch import nn

from oncoseg.registry import Card
from oncoseg.trainable import Network

CARD = Card("On One Convolution", 2000)


class Flat(Network):
    def __init__(self, task, *, width: int = 3) -> None:
        super().__init__()
        kind = nn.Conv2d if task.dims == 2 else nn.Conv3d
        self.widths = [width]
        self.first = kind(task.inputs, width, 3, padding=1)
        self.last = kind(width, task.outputs, 1)

    def encode(self, batch):
        return [self.first(batch.image * batch.present)]

    def decode(self, pyramid, batch):
        return [self.last(pyramid[0].relu())]
'''
METHOD = '''
"""Twice the loss."""

from oncoseg.registry import Card
from oncoseg.trainable import Method

CARD = Card("On Doubling", 2001)


class Twice(Method):
    needs = ("labeled",)

    def __init__(self, network, task, loss, *, factor: float = 2.0) -> None:
        super().__init__(network, task, loss)
        self.factor = factor

    def losses(self, batch, step):
        return {"twice": self.factor * self.loss(self.network(batch)[0], batch.label, batch.weight)}
'''
LOSS = '''
"""Mean square."""

from oncoseg.registry import Card
from oncoseg.trainable import Loss

CARD = Card("On Squares", 2002)


class Square(Loss):
    def forward(self, logits, target, weight):
        return ((logits.float().sigmoid() - target).square() * weight).mean()
'''


def run(package, *words):
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from oncoseg.__main__ import main"
    command = [sys.executable, "-c", f"{script}; sys.exit(main())", str(package.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_one_file_each_and_they_train_together(tmp_path):
    package = tmp_path / "oncoseg"
    ignore = shutil.ignore_patterns("__pycache__", "*.onco")
    shutil.copytree(Path(oncoseg.__file__).parent, package, ignore=ignore)
    for slot, name, source in (
        ("networks", "flat", NETWORK),
        ("methods", "twice", METHOD),
        ("losses", "square", LOSS),
    ):
        (package / slot / f"{name}.py").write_text(source.lstrip(), encoding="utf-8")
    listed = json.loads(run(package, "list", "--json").stdout)
    for slot, name in (("networks", "flat"), ("methods", "twice"), ("losses", "square")):
        assert name in [part["name"] for part in listed[slot]]
    toy_data(tmp_path / "data", 5, 3, dims=2, size=24)
    model = tmp_path / "new.onco"
    parts = ["--network", "flat:width=2", "--method", "twice:factor=3", "--loss", "square"]
    done = run(package, "train", str(tmp_path / "data"), "--to", str(model), "--steps", "2", *parts)
    assert done.returncode == 0, done.stderr
    assert model.exists()
    assert 'method = "twice:factor=3"' in (tmp_path / "new.run" / "run.toml").read_text()
    wrong = run(package, "train", str(tmp_path), "--to", str(model), "--method", "twice:facto=3")
    assert "Twice has no option 'facto'; it has factor" in wrong.stderr
