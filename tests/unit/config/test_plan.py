from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fewpick.config.complete import complete
from fewpick.config.plan import Plan, make_plan
from fewpick.config.schema import load_schema
from fewpick.errors import InputError

SCHEMA = load_schema()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A configuration of one data set of files and one simulated; paths are relative."""
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "points"):
        Path(folder).mkdir()
    for index in range(20):
        Path(f"images/m{index}.mrc").touch()
        Path(f"points/m{index}.csv").touch()
    Path("points/.hidden").touch()
    return {
        "datasets": {
            "mine": {"micrographs": "images", "coordinates": "points", "particle_radius": 5},
            "made": {"simulate": {"n_micrographs": 3}, "particle_radius": 5},
        },
        "preprocess": {"shard_size": 4},
        "splits": {"labeled_ratios": [0.5, 0.1], "seeds": [3, 1]},
        "arms": {
            "supervised": {"method": "supervised"},
            "fixmatch": {"method": "fixmatch"},
            "longer": {"method": "fixmatch", "training": {"steps": 5000}},
        },
    }


def plan(raw: dict[str, Any]) -> Plan:
    return make_plan(complete(raw, SCHEMA))


def test_files_are_found_or_named(raw: dict[str, Any]) -> None:
    found = plan(raw)
    assert list(found.datasets) == ["made", "mine"]
    mine, made = found.datasets["mine"], found.datasets["made"]
    assert mine.micrographs["m7.mrc"] == "images/m7.mrc"
    assert mine.inputs["m7.mrc"] == "results/inputs/datasets/mine/micrographs/m7.mrc"
    assert len(mine.coordinates) == 20
    assert mine.sources == {"coordinates": "results/inputs/datasets/mine/coordinates"}
    assert made.micrographs["sim_0001.mrc"].startswith("results/simulated/made/micrographs/")
    assert made.inputs == made.micrographs
    assert made.coordinates == ["results/simulated/made/particles.star"]
    assert made.sources == {"coordinates": "results/simulated/made/particles.star"}


def test_inputs_are_named_by_the_keys_of_the_configuration(raw: dict[str, Any]) -> None:
    Path("My.star").touch()
    raw["datasets"]["mine"]["split_file"] = "My.star"
    raw["external_picks"] = {"topaz": {"dataset": "mine", "path": "points"}}
    raw["export"] = {"relion": "My.star"}
    found = plan(raw)
    folder = "results/inputs/datasets/mine"
    assert found.links[f"{folder}/micrographs/m7.mrc"] == "images/m7.mrc"
    assert found.links[f"{folder}/coordinates"] == "points"
    assert found.links[f"{folder}/coordinates.files/m7.csv"] == "points/m7.csv"
    assert found.split_files == {"mine": f"{folder}/split_file.star"}
    assert found.relion == ["results/inputs/export/relion.star"]
    whole, files = found.external["topaz"]["path"], found.external_picks["topaz"]
    assert whole == "results/inputs/external_picks/topaz/path"
    assert len(files) == 20
    given = {*found.datasets["mine"].inputs.values(), *found.datasets["mine"].coordinates}
    given |= {f"{folder}/coordinates", found.split_files["mine"], *found.relion, whole, *files}
    assert set(found.links) == given


def test_the_paths_of_micrographs_have_a_digest(raw: dict[str, Any]) -> None:
    before = plan(raw)
    raw["datasets"]["mine"]["coordinates"] = str(Path("points").absolute())
    assert plan(raw).paths_digest() == before.paths_digest()
    Path("images").rename("renamed")
    raw["datasets"]["mine"]["micrographs"] = "renamed"
    assert plan(raw).paths_digest() != before.paths_digest()
    assert plan(raw).datasets["mine"].inputs == before.datasets["mine"].inputs


def test_shards_share_out_the_micrographs(raw: dict[str, Any]) -> None:
    found = plan(raw)
    shards = found.datasets["mine"].shards
    dealt = sorted(path for shard in shards for path in found.shard_micrographs("mine", shard))
    assert dealt == sorted(found.datasets["mine"].inputs.values())
    assert len(found.shard_files("{dataset}/{shard}")) == len(shards) + 1
    assert found.dataset_files("{dataset}!") == ["made!", "mine!"]


def test_one_more_micrograph_changes_one_shard(raw: dict[str, Any]) -> None:
    before = plan(raw).datasets["mine"].shards
    Path("images/further.mrc").touch()
    after = plan(raw).datasets["mine"].shards
    assert sum(before.get(name) != names for name, names in after.items()) == 1


def test_trainings_and_the_warm_starts_they_share(raw: dict[str, Any]) -> None:
    found = plan(raw)
    assert found.ratios == ["0.1", "0.5"]
    assert found.seeds == ["1", "3"]
    assert len(found.trainings) == 3 * 2 * 2
    # One for the arm with its own training, one for the other two; per ratio and seed.
    assert len(found.warm_starts) == 2 * 2 * 2
    shared = found.warm_start_folder("supervised", "0.1", "3")
    assert shared == found.warm_start_folder("fixmatch", "0.1", "3")
    assert shared != found.warm_start_folder("longer", "0.1", "3")
    name = shared.removeprefix("results/models/").removesuffix("/ratio-0.1/seed-3")
    assert found.warm_starts[name, "0.1", "3"]["ratio"] == 0.1


def test_topaz_is_trained_where_it_is_asked_for(raw: dict[str, Any]) -> None:
    assert plan(raw).topaz == {}
    found = plan(raw | {"baselines": {"topaz": {}}}).topaz
    assert set(found) == {("topaz", ratio, seed) for ratio in ("0.1", "0.5") for seed in "13"}
    some = plan(raw | {"baselines": {"topaz": {"ratios": [0.5], "executable": "there"}}}).topaz
    assert set(some) == {("topaz", "0.5", "1"), ("topaz", "0.5", "3")}
    # Where the program lies is no part of what is recorded.
    assert some["topaz", "0.5", "1"] == found["topaz", "0.5", "1"]


@pytest.mark.parametrize(
    ("baseline", "asked", "suffix"), [("relion_log", {}, "csv"), ("general", True, "json")]
)
def test_a_picker_without_labels_is_a_picker_from_elsewhere(
    raw: dict[str, Any], baseline: str, asked: Any, suffix: str
) -> None:
    assert plan(raw).external == {}
    raw["baselines"] = {baseline: asked}
    several = plan(raw).external
    assert {name: row["dataset"] for name, row in several.items()} == {
        f"{baseline}_made": "made",
        f"{baseline}_mine": "mine",
    }
    del raw["datasets"]["made"]
    assert plan(raw).external_picks == {baseline: [f"results/{baseline}/mine/picks.{suffix}"]}
    raw["external_picks"] = {baseline: {"dataset": "mine", "path": "points"}}
    with pytest.raises(InputError, match=rf"baselines\.{baseline}: .* rename external_picks"):
        plan(raw)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("coordinates", "nowhere", "datasets.mine.coordinates: 'nowhere' does not exist"),
        ("coordinates", "empty", "datasets.mine.coordinates: the folder 'empty' is empty"),
        ("micrographs", "empty", "empty: contains no micrographs"),
        ("split_file", "split.tsv", "datasets.mine.split_file: 'split.tsv' does not exist"),
    ],
)
def test_files_that_are_not_there(raw: dict[str, Any], key: str, value: str, said: str) -> None:
    Path("empty").mkdir()
    raw["datasets"]["mine"][key] = value
    with pytest.raises(InputError, match=said):
        plan(raw)


def test_a_micrograph_in_two_data_sets_is_refused(raw: dict[str, Any]) -> None:
    """Also by another path; it would train in one and test in the other."""
    Path("linked").symlink_to("images")
    raw["datasets"]["again"] = raw["datasets"]["mine"] | {"micrographs": "linked"}
    with pytest.raises(
        InputError, match=r"datasets\.again and datasets\.mine both contain images/m0"
    ):
        plan(raw)


def test_steps_grow_with_the_number_of_data_sets(raw: dict[str, Any]) -> None:
    """With its square root, by a factor of three at most; one data set has what is configured."""
    made = raw["datasets"]["made"]

    def steps(n: int, **training: Any) -> tuple[int, int]:
        raw["datasets"] = {f"made{i}": made for i in range(n)}
        raw["training"] = training
        held = plan(raw).trainings["supervised", "0.1", "1"]["training"]
        assert "grow" not in held
        return held["steps"], held["warm_start_steps"]

    assert steps(1) == (400, 200)
    assert steps(4) == (800, 400)
    assert steps(5, steps=300, warm_start_steps=100) == (671, 224)
    assert steps(25) == (1200, 600)
    assert steps(25, grow=False) == (400, 200)


def test_the_supervised_arm_is_a_rival_where_it_is_asked_for(raw: dict[str, Any]) -> None:
    """`longer` trains otherwise than the supervised arm, and has nobody to beat."""
    assert plan(raw).rivals == {"fixmatch": "supervised"}
    del raw["datasets"]["made"]
    alone = plan(raw)
    assert alone.rivals == {}
    assert "rival" not in alone.trainings["fixmatch", "0.1", "1"]["fixmatch"]
    raw["fixmatch"] = {"rival": "always"}
    always = plan(raw)
    assert always.rivals == {"fixmatch": "supervised"}
    assert always.trainings["fixmatch", "0.1", "1"]["fixmatch"]["rival"] is True
    assert "rival" not in always.trainings["longer", "0.1", "1"]["fixmatch"]


@pytest.mark.parametrize(
    ("ratio", "seed", "said"),
    [
        ("0.3", "1", r"splits\.labeled_ratios: 0\.3 is not configured \(only 0\.1, 0\.5"),
        ("0.1", "7", r"splits\.seeds: 7 is not configured \(only 1, 3\)\. Add it"),
    ],
)
def test_an_unknown_ratio_or_seed_as_a_target(
    raw: dict[str, Any], ratio: str, seed: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        plan(raw).warm_start_folder("supervised", ratio, seed)
