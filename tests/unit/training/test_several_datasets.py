"""Several data sets in one training: each counts the same and is judged by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fewpick.data.masks import draw_mask
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.geometry import frame_for
from fewpick.network.unet import UNet
from fewpick.sampling.crops import LabelledCrops, unlabelled_views
from fewpick.sampling.training_set import Micrograph
from fewpick.training import fixmatch
from fewpick.training.fixmatch import ObjectRule, Pool, TeacherPicks
from fewpick.training.guard import Guard, Guards
from fewpick.tuning.thresholds import final_threshold
from fewpick.tuning.validation import (
    Validation,
    Validator,
    validate,
    validation_micrographs,
)

RADIUS = 6.0
CPU = torch.device("cpu")


def micrograph(
    dataset: str, name: str, split: str = "train", *, edge: int = 96, labelled: bool = True
) -> Micrograph:
    """A micrograph of `edge` px with 25 particles, all of it labelled or nothing."""
    frame = frame_for(edge, edge, edge)
    steps = np.linspace(10, edge - 10, 5)
    points = np.array([(x, y) for x in steps for y in steps])
    rng = np.random.default_rng(list(f"{dataset}{name}".encode()))
    mask = draw_mask(frame, edge, points, RADIUS)
    return Micrograph(
        dataset=dataset,
        name=name,
        split=split,
        image=(rng.normal(size=mask.shape) - 2 * (mask == 1)).astype(np.float16),
        mask=mask,
        radius=RADIUS,
        disc=RADIUS / 2,
        area=(0, 0, edge, edge),
        frame=frame,
        windows=((0, 0, edge, edge),) if labelled else (),
        points=points if labelled else np.empty((0, 2)),
    )


def many(counts: dict[str, int], split: str = "train", **options: Any) -> list[Micrograph]:
    return [micrograph(d, f"m{i}", split, **options) for d, n in counts.items() for i in range(n)]


def peaks(m: Micrograph, scores: np.ndarray[Any, Any]) -> TeacherPicks:
    """All particles with these scores, best first, and as many picks of noise with low ones."""
    steps = np.linspace(10, m.image.shape[0] - 10, 5)
    xy = np.array([(x, y) for x in steps for y in steps])
    noise = xy[:24] + np.array([0.0, 8.0])
    return TeacherPicks(m, np.concatenate([xy, noise]), np.concatenate([scores, scores[:24] / 4]))


# ------------------------------------------------------------------------------------- draws


def test_labelled_views_come_equally_from_each_data_set() -> None:
    """However large and many its micrographs are."""
    crops = LabelledCrops([*many({"a": 3}, edge=160), *many({"b": 1}, edge=64)], 64)
    share = Counter[str]()
    for (index, _), p in zip(crops.items, crops.probability, strict=True):
        share[crops.micrographs[index].dataset] += p
    assert share == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}
    alone = LabelledCrops([micrograph("a", "0", edge=160), micrograph("a", "1", edge=64)], 64)
    np.testing.assert_array_equal(alone.probability, np.array([160**2, 64**2]) / (160**2 + 64**2))


def test_prevalence_is_that_of_each_data_set() -> None:
    crops = LabelledCrops([micrograph("a", "0", edge=160), micrograph("b", "0", edge=64)], 64)
    share = (micrograph("a", "0", edge=160).mask == 1).mean()
    assert crops.prevalence_of["a"] == pytest.approx(share)
    assert crops.prevalence_of["b"] > 4 * crops.prevalence_of["a"]
    assert crops.prevalence == pytest.approx(np.mean(list(crops.prevalence_of.values())))
    assert crops.n_particles_of == {"a": 25, "b": 25}


def test_unlabelled_views_come_equally_from_each_data_set_or_by_weight() -> None:
    sheets = many({"a": 9, "b": 1})

    def share(weights: dict[str, float] | None) -> float:
        rng = np.random.default_rng(0)
        indices, _ = unlabelled_views(sheets, 2000, 64, rng, weights)
        return float(np.mean([sheets[i].dataset == "a" for i in indices]))

    assert share(None) == pytest.approx(0.5, abs=0.04)
    assert share({"a": 0.2, "b": 0.6}) == pytest.approx(0.25, abs=0.04)


def test_one_data_set_is_drawn_as_ever() -> None:
    sheets = many({"a": 7})
    indices, _ = unlabelled_views(sheets, 5, 64, np.random.default_rng(3), {"a": 0.1})
    assert indices == np.random.default_rng(3).integers(7, size=5).tolist()


@pytest.mark.parametrize(
    ("counts", "pool_size", "drawn"),
    [
        ({"a": 20}, 8, {"a": 8}),
        ({"a": 5}, 8, {"a": 5}),
        ({"a": 200}, 8, {"a": 25}),  # an eighth
        ({"a": 2000}, 8, {"a": 64}),  # the bound
        ({"a": 2000}, 100, {"a": 100}),  # unless more are asked for
        ({"a": 20, "b": 4}, 8, {"a": 8, "b": 4}),
        ({name: 20 for name in "abcdefghijklmnop"}, 8, {name: 4 for name in "abcdefghijklmnop"}),
    ],
)
def test_the_pool_grows_with_data_sets_and_micrographs(
    counts: dict[str, int], pool_size: int, drawn: dict[str, int]
) -> None:
    one = micrograph("a", "0", labelled=False)
    sheets = [replace(one, dataset=d, name=str(i)) for d, n in counts.items() for i in range(n)]
    chosen = fixmatch._drawn(sheets, pool_size, np.random.default_rng(0))
    assert chosen == sorted(set(chosen))
    assert Counter(sheets[i].dataset for i in chosen) == drawn


# -------------------------------------------------------------------------------- validation


def test_each_data_set_validates_with_as_many_micrographs() -> None:
    held = many({"a": 6, "b": 2, "c": 1}, "val")
    chosen = validation_micrographs(held, 4)
    assert Counter(m.dataset for m in chosen) == {"a": 4, "b": 2, "c": 1}


def test_a_data_set_with_few_labels_does_not_choose(caplog: pytest.LogCaptureFixture) -> None:
    few = replace(micrograph("b", "0", "val"), points=micrograph("b", "0").points[:3])
    chosen = validation_micrographs([*many({"a": 1}, "val"), few])
    assert [m.dataset for m in chosen] == ["a"]
    assert "too few labelled validation particles to select by (3," in caplog.text


def test_the_score_is_the_mean_over_data_sets() -> None:
    torch.manual_seed(0)
    network = UNet(widths=[8, 8])
    a, b = many({"a": 3}, "val"), many({"b": 1}, "val", edge=64)
    both = validate(network, [*a, *b], CPU, 1)
    alone = {"a": validate(network, a, CPU, 1), "b": validate(network, b, CPU, 1)}
    assert dict(both.datasets) == alone
    assert both.f1 == pytest.approx((alone["a"].f1 + alone["b"].f1) / 2)
    assert both.score == pytest.approx((alone["a"].score + alone["b"].score) / 2)
    assert both.of("b") == alone["b"]
    assert alone["a"].datasets == {}
    assert alone["a"].of("a") == alone["a"]
    assert np.isnan(both.of("c").f1)


def test_a_score_survives_a_checkpoint() -> None:
    held = Validation(0.5, 0.4, 0.3, 0.2, {"a": Validation(0.6, 0.5, 0.4, 0.3)})
    validator = Validator([], CPU, 1)
    validator.restore({"latest": held.state()})
    assert validator.latest == held


# -------------------------------------------------------------------------------- thresholds


def test_each_data_set_has_a_threshold_of_its_own() -> None:
    found = [
        peaks(micrograph("a", "0", "val"), np.linspace(0.9, 0.6, 25)),
        peaks(micrograph("b", "0", "val"), np.linspace(0.3, 0.2, 25)),
        peaks(micrograph("c", "0", labelled=False), np.linspace(0.5, 0.4, 25)),
    ]
    chosen = final_threshold(found)
    alone = {f.micrograph.dataset: final_threshold([f]) for f in found[:2]}
    assert chosen["datasets"]["a"] == alone["a"]
    assert chosen["datasets"]["b"] == alone["b"]
    assert alone["a"]["validation"]["pick_f1"] == alone["b"]["validation"]["pick_f1"] == 1.0
    assert chosen["source"] == "validation"
    median = (alone["a"]["threshold"] + alone["b"]["threshold"]) / 2
    # Nothing is known of c, nor of micrographs of no data set.
    assert chosen["datasets"]["c"] == {"threshold": median, "source": "other data sets"}
    assert dataset_threshold(chosen, "c") == dataset_threshold(chosen, "elsewhere") == median
    assert dataset_threshold(chosen, "b") == alone["b"]["threshold"]
    assert dataset_threshold(alone["a"], "whatever") == alone["a"]["threshold"]


def test_a_data_set_without_validation_takes_its_expected_count() -> None:
    lone = replace(micrograph("b", "0", labelled=False), expected=10.0)
    found = [
        peaks(micrograph("a", "0", "val"), np.linspace(0.9, 0.6, 25)),
        peaks(lone, np.linspace(0.3, 0.2, 25)),
    ]
    own = final_threshold(found)["datasets"]["b"]
    assert own == {"threshold": pytest.approx(np.linspace(0.3, 0.2, 25)[9]), "source": "expected"}


# ------------------------------------------------------------------------------ pseudo-labels


def rule(
    sheets: list[Micrograph], validation: list[Micrograph], rounds: int | None = 1
) -> ObjectRule:
    settings = {"labelling": "objects", "rounds": rounds, "pool_size": 8, "doubt": 0.2}
    settings |= {"teacher_views": 1, "threshold_labels": "validation"}
    labelled = LabelledCrops(many({"a": 1}), 64)
    return ObjectRule(settings, Pool(sheets, validation, labelled, [], 4, 64, CPU))


def test_proteins_without_labels_get_a_second_teacher() -> None:
    """`a` alone is labelled."""
    assert rule(many({"a": 2}), [], None).rounds == 1
    assert rule(many({"a": 2, "b": 2}), [], None).rounds == 1
    assert rule(many({"a": 2, "b": 1, "c": 1}), [], None).rounds == 2
    assert rule(many({"a": 2, "b": 1, "c": 1}), [], 1).rounds == 1
    assert rule(many({"a": 2}), [], 3).rounds == 3


def test_pseudo_labels_follow_the_threshold_and_the_worth_of_each_data_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores that mean a particle in one data set mean noise in another."""
    scores = {"a": np.linspace(0.9, 0.6, 25), "b": np.linspace(0.3, 0.2, 25)}

    def seen(teacher: Any, m: Micrograph, device: Any, views: int, nms_radius: float) -> Any:
        held = peaks(m, scores.get(m.dataset, scores["a"]))
        return held.xy, held.score

    parts = {
        "a": Validation(0.8, 0.8, 0.55, 0.5),
        "b": Validation(0.5, 0.5, 0.15, 0.5),
    }
    monkeypatch.setattr(fixmatch, "peaks_of", seen)
    monkeypatch.setattr(fixmatch, "validate", lambda *_: Validation(0.65, 0.65, 0.35, 0.5, parts))
    sheets = many({"a": 2, "b": 2, "c": 1}, labelled=False)
    objects = rule(sheets, many({"a": 1, "b": 1}, "val"))
    objects.draw(UNet(widths=[8, 8]), np.random.default_rng(0))
    for index, labels in objects.drawn:
        m = sheets[index]
        if m.dataset in parts:
            # Every particle and no noise, at whatever score.
            inside = labels != -1
            np.testing.assert_array_equal(labels[inside] == 1, (m.mask == 1)[inside])
            assert (labels == 1).sum() == (m.mask == 1).sum()
    assert objects.weights == {"a": 1.0, "b": pytest.approx(0.25), "c": fixmatch.UNKNOWN_WEIGHT}
    assert objects.summary["threshold.b"] == 0.15
    assert objects.summary["threshold.c"] == pytest.approx(0.35)  # the median
    assert objects.summary["pseudo_precision.a"] == 1.0
    objects.distrust("b")
    assert objects.weights["b"] == pytest.approx(0.125)
    state = objects.state()
    again = rule(sheets, [])
    again.restore(state)
    assert again.weights == objects.weights


def test_one_data_set_counts_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixmatch, "validate", lambda *_: Validation(0.2, 0.2, 0.5, 0.5))
    sheets = many({"a": 2}, labelled=False)
    objects = rule(sheets, many({"a": 1}, "val"))
    objects.draw(UNet(widths=[8, 8]), np.random.default_rng(0))
    assert objects.weights == {"a": 1.0}
    objects.distrust("a")
    assert objects.weights == {"a": 1.0}


# -------------------------------------------------------------------------------------- guard


def test_the_guard_notices_one_data_set_that_falls(caplog: pytest.LogCaptureFixture) -> None:
    guards = Guards(
        {
            name: Guard(
                name,
                on=True,
                start_f1=0.8,
                prevalence=0.1,
                n_particles=400,
                new_students=False,
            )
            for name in ("a", "b")
        }
    )
    rates = {"a": 0.1, "b": 0.1}
    assert guards.drifting(1, 1.0, rates, {"a": 0.8, "b": 0.75}) == []
    assert guards.drifting(2, 1.0, rates, {"a": 0.9, "b": 0.7}) == ["b"]
    assert "b, step 2: drift towards collapse" in caplog.text
    assert guards.trust == 0.75
    # A data set without validation is judged by its pseudo-labels alone.
    thin = {"a": 0.1, "b": 0.01}
    found = [guards.drifting(step, 1.0, thin, {"a": 0.9, "b": np.nan}) for step in (3, 4)]
    assert found == [[], ["b"]]
    again = Guards({name: replace_guard(guard) for name, guard in guards.guards.items()})
    again.restore(guards.state())
    assert again.trust == guards.trust


def replace_guard(guard: Guard) -> Guard:
    return Guard(
        guard.dataset, on=True, start_f1=0.0, prevalence=0.1, n_particles=1, new_students=False
    )
