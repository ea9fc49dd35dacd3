"""Stands in for relion_autopick: dark discs by a Gaussian, in the files that RELION writes.

It takes the options that fewpick gives RELION 3.1.3 and no other, and leaves them in `calls.jsonl`
beside the program. A file `fail` beside the program makes it stop.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(sys.argv[0]).parent
HEAD = "\n# version 30001\n\ndata_\n\nloop_ \n"
COLUMNS = ("CoordinateX", "CoordinateY", "AutopickFigureOfMerit", "ClassNumber", "AnglePsi")


def main() -> None:
    parser = argparse.ArgumentParser("relion_autopick")
    for option in ("--i", "--odir", "--pickname"):
        parser.add_argument(option, required=True)
    parser.add_argument("--LoG", action="store_true", required=True)
    for option in ("--angpix", "--LoG_diam_min", "--LoG_diam_max", "--LoG_adjust_threshold"):
        parser.add_argument(option, type=float, required=True)
    options = parser.parse_args()
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(json.dumps(vars(options)) + "\n")
    if (HERE / "fail").exists():
        print("ERROR:\nMultidimArray: out of memory")
        sys.exit(1)

    import mrcfile
    import numpy as np
    from scipy.ndimage import gaussian_filter, maximum_filter

    folder = Path(options.odir)
    folder.mkdir()
    for path in sorted(Path().glob(options.i)):
        smooth = -gaussian_filter(mrcfile.read(path), options.LoG_diam_min / 4)
        side = int(options.LoG_diam_max) | 1
        peaks = (smooth == maximum_filter(smooth, side)) & (smooth > options.LoG_adjust_threshold)
        names = "".join(f"_rln{name} #{i} \n" for i, name in enumerate(COLUMNS, start=1))
        rows = "".join(f"{x:f} {y:f} {smooth[y, x]:f} 0 0.0 \n" for y, x in np.argwhere(peaks))
        (folder / f"{path.stem}_{options.pickname}.star").write_text(HEAD + names + rows + " \n")


main()
