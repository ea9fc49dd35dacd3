"""Picks in another format, as a target of the workflow."""

from __future__ import annotations

import numpy as np
from workspace import Workspace

from fewpick.coordinates import read_picks


def test_boxes_are_a_target(workspace: Workspace) -> None:
    folder = "results/picks/supervised/ratio-0.2/seed-0"
    workspace.run(f"{folder}/box")
    boxes = read_picks(workspace.directory / folder / "box")
    table = read_picks(workspace.directory / folder / "picks.star")
    assert len(boxes) == len(list((workspace.directory / "micrographs").iterdir()))
    for path, held in table.items():
        found = boxes[path.removeprefix("micrographs/").removesuffix(".mrc")]
        np.testing.assert_allclose(found.xy, held.xy, atol=0.51)
        assert found.diameter == 24
