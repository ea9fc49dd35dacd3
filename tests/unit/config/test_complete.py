from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fewpick.canonical import canonical
from fewpick.config import complete as config
from fewpick.config import hyperparameters
from fewpick.config.file import read_configs
from fewpick.config.schema import load_schema
from fewpick.errors import InputError

ROOT = Path(__file__).parents[3]
SCHEMA = load_schema()
MINIMAL: dict[str, Any] = {
    "datasets": {"mine": {"micrographs": "here", "coordinates": "there", "particle_radius": 42}},
    "arms": {
        "supervised": {"method": "supervised"},
        "fixmatch": {"method": "fixmatch"},
        "two_thresholds": {"method": "fixmatch", "labelling": "two_thresholds"},
        "one_threshold": {
            "method": "fixmatch",
            "labelling": "two_thresholds",
            "fixmatch": {"pseudo_label_threshold": 0.7},
        },
    },
}


def edited(path: str, value: Any) -> dict[str, Any]:
    """MINIMAL with one more value, at a dotted path."""
    result = copy.deepcopy(MINIMAL)
    *parents, last = path.split(".")
    node = result
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value
    return result


def resolved(raw: dict[str, Any], arm: str, ratio: float = 0.05, seed: int = 0) -> dict[str, Any]:
    return hyperparameters.resolve_arm(config.complete(raw, SCHEMA), arm, ratio, seed)


# config/general*.yaml are recipes for `fewpick.general.recipe`, no configurations of the workflow.
SHIPPED = sorted({*(ROOT / "config").rglob("*.yaml")} - {*(ROOT / "config").glob("general*.yaml")})


# What only changes another file.
ADDED_TO = {"original_cpu.yaml": "original.yaml"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_configurations_are_valid(path: Path) -> None:
    base = [path.with_name(ADDED_TO[path.name])] if path.name in ADDED_TO else []
    config.complete(read_configs([*base, path]), SCHEMA)


def test_several_files_are_merged_as_snakemake_does(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("splits: {seeds: [0, 1], val_fraction: 0.2}\nmodel: {norm: batch}\n")
    second.write_text("splits: {seeds: [3]}\ntraining: {steps: 5}\n")
    assert read_configs([first, second]) == {
        "splits": {"seeds": [3], "val_fraction": 0.2},
        "model": {"norm": "batch"},
        "training": {"steps": 5},
    }
    second.write_text("splits: {seeds: [3], seeds: [4]}\n")
    with pytest.raises(InputError, match=r"b\.yaml: line 1, column 22: duplicate key 'seeds'"):
        read_configs([first, second])


def test_schema_is_a_schema_and_says_what_each_key_is() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    def keys(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for name, sub in node.get("properties", {}).items():
                assert "$ref" in sub or sub.get("description"), f"{path}.{name}"
            if node.get("properties"):
                assert node["additionalProperties"] is False, path
            for name, sub in node.items():
                keys(sub, f"{path}.{name}")

    keys(SCHEMA, "")


def test_defaults_are_valid_and_complete() -> None:
    full = config.complete(MINIMAL, SCHEMA)
    assert config.complete(full, SCHEMA) == full
    for section in (
        *hyperparameters.SECTIONS,
        "preprocess",
        "masks",
        "splits",
        "picking",
        "evaluation",
    ):
        schema = SCHEMA["$defs"].get(section) or SCHEMA["properties"][section]
        assert set(full[section]) == set(schema["properties"])


def test_defaults_do_not_leak_into_overrides_or_the_input() -> None:
    raw = copy.deepcopy(MINIMAL)
    full = config.complete(raw, SCHEMA)
    assert raw == MINIMAL
    assert full["arms"] == MINIMAL["arms"]
    full["splits"]["seeds"].append(7)
    assert config.complete(raw, SCHEMA)["splits"]["seeds"] != full["splits"]["seeds"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "fixmatch.confidence_threshold",
            1.7,
            "mine.yaml: fixmatch.confidence_threshold is 1.7; give a number in [0, 1]",
        ),
        (
            "fixmatch.confidense_threshold",
            0.7,
            "mine.yaml: fixmatch.confidense_threshold is not a known key; "
            "did you mean confidence_threshold?",
        ),
        (
            "splits.labeled_ratios",
            [0.05, 0],
            "mine.yaml: splits.labeled_ratios[1] is 0; give a number in (0, 1]",
        ),
        (
            "splits.labeled_ratios",
            [1.2],
            "mine.yaml: splits.labeled_ratios[0] is 1.2; give a number in (0, 1]",
        ),
        ("splits.labeled_ratios", [0.5, 5], "give a number in (0, 1] (0.05 for 5 %)"),
        ("splits.test_fraction", 20, "(0.2 for 20 %)"),
        (
            "datasets",
            {"micrographs": "here", "coordinates": "there", "particle_radius": 42},
            "mine.yaml: datasets.micrographs is a key of a data set, but the data set's name is "
            "missing. Write datasets: {mine: {micrographs: ...}}",
        ),
        (
            "datasets.mine.coordinates",
            None,
            "mine.yaml: no data set has coordinates, so there is nothing to train on",
        ),
        (
            "splits.seeds",
            [1, 1],
            "mine.yaml: splits.seeds is [1, 1]; list each value once",
        ),
        (
            "arms.one_threshold.fixmatch.pseudo_label_threshold",
            -1,
            "mine.yaml: arms.one_threshold.fixmatch.pseudo_label_threshold is -1; "
            "give a number in [0, 1]",
        ),
        (
            "arms.one_threshold.method",
            "fixmach",
            "mine.yaml: arms.one_threshold.method is 'fixmach'; give one of supervised, fixmatch",
        ),
        (
            "arms.empty",
            {},
            "mine.yaml: arms.empty.method is missing; "
            "train on labels only, or on unlabelled micrographs too.",
        ),
        (
            "training.steps",
            "1e3",
            "mine.yaml: training.steps is '1e3' (text, not a number; in YAML write 1.0e-3, not "
            "1e-3); give a whole number >= 2",
        ),
        ("training.batch_size", True, "training.batch_size is True; give a whole number >= 1"),
        ("datasets.mine.y_axis", "left", "datasets.mine.y_axis is 'left'; give one of down, up"),
        ("datasets.mine.simulate", {}, "set either micrographs (with coordinates) or simulate"),
        ("datasets.mine.particle_diameter_angstrom", 100, ", not both"),
        ("datasets.all", MINIMAL["datasets"]["mine"], "choose another"),
        ("datasets.a/b", MINIMAL["datasets"]["mine"], "'a/b' is not a valid name"),
        ("splits.test_fraction", 0.9, "leave nothing to train on"),
        ("evaluation.reference_arm", "none", "evaluation.reference_arm is 'none'"),
        ("arms.supervised.labelling", "two_thresholds", "its method is supervised"),
        (
            "preprocess.target_size",
            1000,
            "preprocess.target_size is 1000; give a whole number in [64, 8192], a multiple of 32",
        ),
        (
            "arms.one_threshold.training",
            {"steps": 10, "warm_start_steps": 11},
            "arm one_threshold: training.warm_start_steps is 11, but training.steps, which "
            "includes them, is 10",
        ),
        (
            "model.widths",
            [8] * 5,
            "model.stem_stride 4 and 5 model.widths downsample images 64 times",
        ),
    ],
)
def test_messages_name_the_key_the_value_and_the_cure(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        config.complete(edited(path, value), SCHEMA, "mine.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms.topaz": {"method": "supervised"}},
            "the name topaz is taken by its rows; rename arms.topaz",
        ),
        (
            {"external_picks.topaz": {"dataset": "mine", "path": "there"}},
            "the name topaz is taken by its rows; rename external_picks.topaz",
        ),
        (
            {"baselines.topaz.ratios": [0.2, 0.1]},
            "mine.yaml: baselines.topaz.ratios: 0.2 is not in splits.labeled_ratios",
        ),
        ({"splits.unit": "particle"}, "datasets.mine.expected_particles is missing"),
    ],
)
def test_what_topaz_cannot_be_asked(changes: dict[str, Any], message: str) -> None:
    raw = edited("baselines.topaz", {"executable": "topaz"})
    config.complete(raw, SCHEMA)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = raw
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    with pytest.raises(InputError) as caught:
        config.complete(raw, SCHEMA, "mine.yaml")
    assert message in str(caught.value)


def test_an_arm_is_given_what_it_uses_and_nothing_else() -> None:
    assert "fixmatch" not in resolved(MINIMAL, "supervised")
    assert resolved(MINIMAL, "one_threshold")["fixmatch"]["pseudo_label_threshold"] == 0.7
    assert resolved(MINIMAL, "two_thresholds")["fixmatch"]["pseudo_label_threshold"] == 0.5
    assert "confidence_threshold" not in resolved(MINIMAL, "fixmatch")["fixmatch"]
    assert resolved(MINIMAL, "two_thresholds")["fixmatch"]["labelling"] == "two_thresholds"


@pytest.mark.parametrize(
    ("path", "value", "arms"),
    [
        ("fixmatch.pseudo_label_threshold", 0.6, {"two_thresholds"}),  # one_threshold overrides it
        ("fixmatch.confidence_threshold", 0.9, {"two_thresholds", "one_threshold"}),
        ("fixmatch.labelling", "two_thresholds", {"fixmatch"}),  # the only arm that leaves it open
        ("training.steps", 1000, {"supervised", "fixmatch", "two_thresholds", "one_threshold"}),
        ("picking.nms_radius", 0.7, set()),
        ("evaluation.match_radii", [0.25], set()),
        ("resources.device", "cpu", set()),
        ("arms.another", {"method": "supervised"}, set()),
    ],
)
def test_an_edit_changes_the_trainings_that_use_it(path: str, value: Any, arms: set[str]) -> None:
    changed = {
        arm
        for arm in MINIMAL["arms"]
        if resolved(MINIMAL, arm) != resolved(edited(path, value), arm)
    }
    assert changed == arms


@given(st.randoms(use_true_random=False))
def test_key_order_and_number_type_change_nothing(rng: random.Random) -> None:
    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            keys = list(node)
            rng.shuffle(keys)
            return {key: shuffled(node[key]) for key in keys}
        return node

    raw = edited("arms.one_threshold.fixmatch.confidence_threshold", 1)
    same = edited("arms.one_threshold.fixmatch.confidence_threshold", 1.0)
    same["datasets"]["mine"]["particle_radius"] = 42.0
    full, other = config.complete(raw, SCHEMA), config.complete(shuffled(same), SCHEMA)
    assert canonical(full) == canonical(other)
    assert canonical(hyperparameters.resolve_arm(full, "one_threshold", 1, 0)) == canonical(
        hyperparameters.resolve_arm(other, "one_threshold", 1.0, 0)
    )


def test_warm_start_is_shared_by_arms_and_depends_on_network_and_training() -> None:
    keys = {arm: hyperparameters.warm_start_key(resolved(MINIMAL, arm)) for arm in MINIMAL["arms"]}
    assert len(set(keys.values())) == 1
    for path, value in [("training.steps", 999), ("model.norm", "batch")]:
        assert (
            hyperparameters.warm_start_key(resolved(edited(path, value), "two_thresholds"))
            != keys["two_thresholds"]
        )
    # Ratio and seed have folders of their own below the key.
    assert (
        hyperparameters.warm_start_key(resolved(MINIMAL, "two_thresholds", 0.1, 3))
        == keys["two_thresholds"]
    )
    last = edited("arms.two_thresholds.training", {"keep": "last"})
    assert (
        hyperparameters.warm_start_key(resolved(last, "two_thresholds")) == keys["two_thresholds"]
    )
    assert (
        hyperparameters.warm_start(resolved(last, "two_thresholds"))["training"]["keep"] == "best"
    )
    assert hyperparameters.warm_start(
        resolved(MINIMAL, "one_threshold")
    ) == hyperparameters.warm_start(resolved(MINIMAL, "supervised"))


@pytest.mark.parametrize(("ratio", "name"), [(0.05, "0.05"), (0.10, "0.1"), (1, "1.0")])
def test_ratio_name(ratio: float, name: str) -> None:
    assert hyperparameters.ratio_name(ratio) == name


def test_paths_are_expanded_as_a_shell_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/big")
    raw = edited("external_picks.old", {"dataset": "mine", "path": "$SCRATCH/old.star"})
    raw["datasets"]["mine"] |= {"micrographs": "~/m/*.mrc", "coordinates": "${SCRATCH}/c.star"}
    full = config.complete(raw, SCHEMA)
    mine = full["datasets"]["mine"]
    assert (mine["micrographs"], mine["coordinates"]) == ("/home/me/m/*.mrc", "/big/c.star")
    assert full["external_picks"]["old"]["path"] == "/big/old.star"
    raw["datasets"]["mine"]["coordinates"] = "$NOT_SET/c.star"
    full = config.complete(raw, SCHEMA)
    assert full["datasets"]["mine"]["coordinates"] == "$NOT_SET/c.star"
