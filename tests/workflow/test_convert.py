"""Picks in other formats, as targets of the workflow."""

from __future__ import annotations

import numpy as np
from workspace import Workspace

from fewpick.coordinates import read_picks


def test_boxes_and_a_star_file_per_micrograph_are_targets(workspace: Workspace) -> None:
    folder = "results/picks/supervised/ratio-0.2/seed-0"
    workspace.run(f"{folder}/box", f"{folder}/micrographs")
    boxes = read_picks(workspace.directory / folder / "box")
    table = read_picks(workspace.directory / folder / "picks.star")
    assert len(boxes) == len(list((workspace.directory / "micrographs").iterdir()))
    for path, held in table.items():
        found = boxes[path.removeprefix("micrographs/").removesuffix(".mrc")]
        np.testing.assert_allclose(found.xy, held.xy, atol=0.51)
        assert found.diameter == 24
    names = {path.stem for path in (workspace.directory / "micrographs").iterdir()}
    files = {path.name for path in (workspace.directory / folder / "micrographs").glob("[!.]*")}
    assert files == {f"{name}_autopick.star" for name in names} | {"autopick.star"}
    each = read_picks(workspace.directory / folder / "micrographs/autopick.star")
    for path, held in table.items():
        np.testing.assert_array_equal(each[path].xy, held.xy)
