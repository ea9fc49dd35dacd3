"""Warnings of `fewpick check` that need no data."""

from __future__ import annotations

import pytest

from fewpick.commands.check import Findings, _check_distances


@pytest.mark.parametrize(("picked", "warned"), [(1.0, False), (0.7, True)])
def test_another_distance_of_picks_than_in_training_is_told(picked: float, warned: bool) -> None:
    findings = Findings()
    config = {"picking": {"nms_radius": picked}, "training": {"nms_radius": 1.0}}
    _check_distances(config, findings)
    assert len(findings.warnings) == warned
    if warned:
        assert "picking.nms_radius is 0.7" in findings.warnings[0]
