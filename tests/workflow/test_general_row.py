"""The general network as a row of the table that has seen no label."""

from __future__ import annotations

import numpy as np
from workspace import Workspace

from fewpick.stacks import read_table


def test_the_general_network_is_a_row_without_labels(workspace: Workspace) -> None:
    workspace.edit("baselines.general", True)
    assert workspace.jobs() == {
        "general dataset=mine",
        "external picker=general seed=0",
        *("comparison", "figure_scores", "report"),
    }
    workspace.run()
    table = read_table(workspace.directory / "results/comparison.tsv")
    row = table[(table["seed"].astype(str) == "0") & (table["arm"] == "general")].iloc[0]
    # These micrographs are too small and too noisy for it: no picks are a row, too.
    assert row["pick_f1_0.3"] >= 0
    assert np.isnan(row["labeled_ratio"])
    assert np.isnan(row["average_precision"])
