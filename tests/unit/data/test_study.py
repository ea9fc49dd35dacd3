"""A folder of results belongs to one study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fewpick.data.study import refuse_other_study
from fewpick.errors import InputError
from fewpick.stage_tables.definitions import SplitTable


@pytest.fixture(params=["splits/seed-3/split.tsv", "final/training/all/labels.tsv"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Results on the micrographs a.mrc and b.mrc of the data set mine."""
    table = pd.DataFrame({"dataset": "mine", "micrograph": ["a.mrc", "b.mrc"], "split": "train"})
    SplitTable.write(table, tmp_path / request.param)
    return tmp_path


@pytest.mark.parametrize("names", [["a.mrc", "b.mrc"], ["b.mrc", "c.mrc"]])
def test_a_study_goes_on_with_more_or_fewer_micrographs(results: Path, names: list[str]) -> None:
    refuse_other_study(results, {"mine": names})


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ({"other": ["a.mrc"]}, r"for the data sets mine, not for other\. Run each study"),
        ({"mine": ["a.mrc"], "more": ["x.mrc"]}, r"for the data sets mine, not for mine, more\. "),
        ({"mine": ["x.mrc"]}, r"for other micrographs of the data set mine, such as a"),
    ],
)
def test_another_study_is_refused(results: Path, datasets: dict[str, list[str]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        refuse_other_study(results, datasets)


def test_any_study_may_begin_where_there_is_none(tmp_path: Path) -> None:
    refuse_other_study(tmp_path / "results", {"mine": ["a.mrc"]})
