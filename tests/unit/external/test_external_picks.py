"""Picks of another program, or of the run itself, as a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fewpick.coordinates.picks import NoParticles
from fewpick.external.external_picks import read_external


def test_only_what_the_run_made_itself_may_hold_nothing(tmp_path: Path) -> None:
    """RELION may find nothing above its threshold; a user's empty list is a mistake."""
    path = tmp_path / "picks.csv"
    path.write_text("micrograph,x,y,score\n")
    manifest = pd.DataFrame({"micrograph": ["a.mrc"], "path": ["a.mrc"], "ny": 100, "nx": 100})
    with pytest.raises(NoParticles, match="no particles"):
        read_external(path, manifest)
    found = read_external(path, manifest, may_be_empty=True)
    assert found.empty
    assert list(found) == ["micrograph", "x", "y", "score"]
