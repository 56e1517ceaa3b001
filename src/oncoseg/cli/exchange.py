"""Models from and for other programs: `oncoseg import` and `oncoseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oncoseg.cli.words import Words, add_command, answer, options
from oncoseg.errors import BadOption


def add(commands: Any) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "import",
        "turn a trained model of nnU-Net v2 or a MONAI Bundle into a model file that answers alike",
        bring,
        examples="  oncoseg import nnunet nnUNet_results/Dataset004_Hippocampus/"
        "nnUNetTrainer__nnUNetPlans__3d_fullres --to hippocampus.onco\n"
        "  oncoseg import nnunet FOLDER --to model.onco --fold 0\n"
        "  oncoseg import monai bundles/spleen --to spleen.onco",
    )
    parser.add_argument("kind", choices=("nnunet", "monai"), help="what trained it")
    parser.add_argument(
        "folder",
        type=Path,
        help="nnunet: with plans.json, dataset.json and fold_0 ...; monai: with configs and models",
    )
    parser.add_argument("--to", type=Path, required=True, metavar="MODEL", help="file (.onco)")
    parser.add_argument(
        "--fold", help="nnunet: one fold; all that are trained become an ensemble if not"
    )
    parser = add_command(
        commands,
        "export",
        "write the graph of a model as a bare .onnx file for other runtimes",
        export,
        examples="  oncoseg export glioma --to glioma.onnx\n"
        "  oncoseg export model.onco --to model.onnx",
    )
    parser.add_argument("model", help="a model file (.onco), or the name of one in 'oncoseg list'")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="to write (.onnx)")


def bring(words: Words) -> int:
    """`oncoseg import`."""
    from oncoseg.foreign import monai, nnunet

    fold = options(words, "fold")
    if words.kind == "monai" and fold:
        raise BadOption("a bundle of MONAI has no folds; leave out --fold")
    if words.kind == "monai":
        model = monai.convert(words.folder, words.to)
    else:
        model = nnunet.convert(words.folder, words.to, **fold)
    answer(words, {"model": str(model)}, f"the model is {model}")
    return 0


def export(words: Words) -> int:
    """`oncoseg export`."""
    from oncoseg.foreign.onnx import export as run

    graph = run(words.model, words.to)
    answer(words, {"graph": str(graph)}, f"the graph is {graph}")
    return 0
