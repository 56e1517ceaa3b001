"""Make the example reports of this folder again.

    python docs/examples/make.py BRATS

The synthetic patient of `oncoseg demo`: a picture of each page (`pdftoppm` of poppler draws them)
and the JSON report. BRATS is a folder of BraTS 2021 cases; of the first one the JSON report alone
is kept, since no part of a real scan enters the repository.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from oncoseg.demo import demo
from oncoseg.predict import predict
from oncoseg.read import find
from oncoseg.report import report

HERE = Path(__file__).parent
DPI, COLOURS = "72", 96
FINDINGS = ("recist", "shape", "multifocality")


def pages(pdf: Path) -> None:
    """A picture of each page, in few colours."""
    subprocess.run(["pdftoppm", "-r", DPI, "-png", str(pdf), str(pdf.with_suffix(""))], check=True)
    for number, path in enumerate(sorted(pdf.parent.glob(f"{pdf.stem}-*.png")), 1):
        few = Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(HERE / f"synthetic-{number}.png", optimize=True)


def main() -> None:
    """Both patients."""
    for old in HERE.glob("synthetic-*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        demo(made)
        (page, *_) = report(made / "prediction", to=made, kinds=("pdf",), findings=FINDINGS)
        pages(page.with_suffix(".pdf"))
        (told,) = made.glob("phantom_*.report.json")
        shutil.copy(told, HERE / "synthetic.report.json")
        case = find(Path(sys.argv[1])).sources[0].case
        predict("glioma", Path(sys.argv[1]), to=made / "real", cases=[case])
        report(made / "real", findings=FINDINGS)
        shutil.copy(made / "real" / f"{case}.report.json", HERE / "real.report.json")


if __name__ == "__main__":
    main()
