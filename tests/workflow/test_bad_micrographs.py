"""Broken micrographs that are left out by choice count nowhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from workspace import CONFIG, Workspace, small_workspace

BROKEN = ("m03", "m07")
RUN = "supervised/ratio-0.2/seed-0"
RESULTS = (
    "results/picks/*/*/*/candidates.tsv",
    "results/picks/*/*/*/picks.star",
    "results/evaluation/*/*/*/scores.tsv",
    "results/data/mine/coordinates.tsv",
    "results/splits/seed-0/*.tsv",
)


def one_arm(folder: Path) -> Workspace:
    workspace = small_workspace(folder)
    workspace.config = CONFIG | {"arms": {"supervised": {"method": "supervised"}}}
    return workspace


def without_time(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t")
    return table.loc[:, ~table.columns.str.contains("seconds")]


def test_the_rest_gives_what_it_gives_alone(tmp_path: Path) -> None:
    broken, alone = one_arm(tmp_path / "broken"), one_arm(tmp_path / "alone")
    path = broken.directory / "micrographs/m03.mrc"
    path.write_bytes(path.read_bytes()[:-1000])
    path = broken.directory / "micrographs/m07.mrc"
    path.write_bytes(path.read_bytes()[:1024] + bytes(path.stat().st_size - 1024))
    assert "m03.mrc" in broken.fail()
    broken.edit("datasets.mine.on_bad_micrograph", "skip")
    broken.run()
    for name in BROKEN:
        (alone.directory / f"micrographs/{name}.mrc").unlink()
        (alone.directory / f"coordinates/{name}.csv").unlink()
    alone.run(f"results/picks/{RUN}/picks.star", f"results/evaluation/{RUN}/scores.tsv")

    for pattern in RESULTS:
        paths = sorted(alone.directory.glob(pattern))
        assert paths, pattern
        for expected in paths:
            got = broken.directory / expected.relative_to(alone.directory)
            if got.name == "scores.tsv":
                pd.testing.assert_frame_equal(without_time(got), without_time(expected))
            else:
                assert got.read_bytes() == expected.read_bytes(), got

    listed = pd.read_csv(broken.directory / "results/data/mine/left_out.tsv", sep="\t")
    assert listed["micrograph"].to_list() == ["m03.mrc", "m07.mrc"]
    assert "bytes, but" in listed["reason"][0]
    assert "every pixel is 0" in listed["reason"][1]
    said = (broken.directory / "results/logs/manifest/mine.log").read_text()
    assert "2 of 10 micrographs were left out" in said
    page = (broken.directory / "results/report.html").read_text(encoding="utf-8")
    assert "mine: 2 of 10 micrographs are broken and were left out" in page
    # A shard of which nothing is left is empty, and stops nothing.
    shards = (broken.directory / "results/preprocessed/mine").glob("*.tsv")
    assert sorted(len(pd.read_csv(path, sep="\t")) for path in shards) == [0, 1, 3, 4]
    assert broken.jobs() == set()
