"""The training loop: reproducible, resumable, blind to hidden labels, and guarded."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fewpick.config.complete import complete
from fewpick.config.hyperparameters import resolve_arm
from fewpick.config.labelling_rules import LABELLING_RULES, LabellingRule
from fewpick.config.schema import load_schema
from fewpick.data.masks import draw_mask
from fewpick.errors import InputError
from fewpick.geometry import frame_for
from fewpick.network import model_file as model_file
from fewpick.network.inference import find_peaks
from fewpick.network.unet import UNet
from fewpick.sampling.training_set import Micrograph
from fewpick.training import fixmatch
from fewpick.training import labelling as labelling_functions
from fewpick.training.checkpoint import Checkpoint
from fewpick.training.cuda_graphs import forward_passes
from fewpick.training.ema import Ema
from fewpick.training.schedule import check_steps, even_steps, learning_rate, round_of
from fewpick.training.train import Stopped, Trainer, train
from fewpick.tuning import validation
from fewpick.tuning.thresholds import without_validation
from fewpick.tuning.validation import Validation, peaks_of, validate

ROOT = Path(__file__).parents[3]
T = 128

HYPERPARAMETERS: dict[str, Any] = {
    "method": "fixmatch",
    "ratio": 0.1,
    "seed": 3,
    "model": {"stem_stride": 2, "widths": [8, 16], "norm": "group", "dropout": 0.0},
    "training": {
        "batch_size": 2,
        "crop_size": 64,
        "steps": 14,
        "warm_start_steps": 6,
        "learning_rate": 2e-3,
        "weight_decay": 1e-2,
        "ema_decay": 0.9,
        "checks": 4,
        "validation_micrographs": 2,
        "validation_views": 1,
        "nms_radius": 1.0,
        "checkpoint_steps": 3,
        "keep": "best",
    },
    "fixmatch": {
        "labelling": "objects",
        "teacher": "ema",
        "teacher_views": 2,
        "views": "aligned",
        "student_mode": "training",
        "weight": 1.0,
        "ramp": 0.2,
        "unlabeled_batch_size": 2,
        "rounds": 2,
        "student": "new",
        "pool_size": 2,
        "doubt": 0.5,
        "threshold_labels": "validation",
        "keep_fraction": 0.8,
        "threshold_momentum": 0.9,
        "pseudo_label_threshold": 0.5,
        "confidence_threshold": 0.7,
        "guard": True,
    },
}
LABELLINGS = list(LABELLING_RULES)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU: not tested on one")


def micrographs(seed: int = 0) -> list[Micrograph]:
    """Six small micrographs of dark discs: one labelled in a window, one for validation."""
    rng = np.random.default_rng(seed)
    frame = frame_for(T, T, T)
    area = (0, 0, T, T)
    made = []
    for index in range(6):
        grid = np.stack(np.meshgrid(np.arange(14, T, 25), np.arange(14, T, 25)), -1).reshape(-1, 2)
        points = grid + rng.uniform(-4, 4, grid.shape)
        mask = draw_mask(frame, T, points, 8.0)
        image = (rng.normal(size=(T, T)) - 2 * (mask == 1)).astype(np.float16)
        split = ["train", "train", "train", "unannotated", "val", "test"][index]
        windows = {0: ((0, 0, 64, 64),), 4: (area,)}.get(index, ())
        inside = points if index == 4 else points[(points < 64).all(axis=1)]
        made.append(
            Micrograph(
                "set",
                f"{index}.mrc",
                split,
                image,
                mask,
                8.0,
                4.0,
                area,
                frame,
                windows,
                inside if windows else np.empty((0, 2)),
            )
        )
    return made


def with_fixmatch(**changes: Any) -> dict[str, Any]:
    hyperparameters = copy.deepcopy(HYPERPARAMETERS)
    hyperparameters["fixmatch"] |= changes
    return hyperparameters


def long_enough(labelling: str = "objects") -> dict[str, Any]:
    """Of a training that finds nearly all discs."""
    hyperparameters = with_fixmatch(labelling=labelling)
    hyperparameters["training"] |= {"steps": 160, "warm_start_steps": 80, "learning_rate": 1e-2}
    return hyperparameters


def warm(sheets: list[Micrograph]) -> UNet:
    return train(HYPERPARAMETERS, sheets)[0]


def same(a: UNet, b: UNet) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("mode", ["training", "evaluation"])
@pytest.mark.parametrize("teacher", ["student", "ema"])
def test_mode_of_the_network_in_each_pass(
    teacher: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyperparameters = with_fixmatch(
        labelling="two_thresholds",
        teacher=teacher,
        student="continued",
        student_mode=mode,
        guard=False,
    )
    hyperparameters["model"]["norm"] = "batch"
    forward, modes = UNet.forward, []

    def watched(self: UNet, images: torch.Tensor) -> torch.Tensor:
        modes.append((torch.is_grad_enabled(), self.training))
        return forward(self, images)

    begin = train(hyperparameters, micrographs())[0]
    monkeypatch.setattr(UNet, "forward", watched)
    train(hyperparameters, micrographs(), warm_start=begin, device="cpu")
    # The labelled and the strong view with a gradient, all predictions without.
    learned = [training for gradient, training in modes if gradient]
    steps = hyperparameters["training"]["steps"] - hyperparameters["training"]["warm_start_steps"]
    assert learned == [True, mode == "training"] * steps
    assert not any(training for gradient, training in modes if not gradient)


def test_clicks_alone_do_not_tell_positive_unlabelled_how_many_particles_there_are() -> None:
    clicked = [
        replace(m, windows=(), clicked=True) if m.split == "train" else m for m in micrographs()
    ]
    settings = with_fixmatch(labelling="positive_unlabelled")
    network = UNet(**settings["model"])
    with pytest.raises(InputError, match=r"Set datasets\.set\.expected_particles"):
        train(settings, clicked, warm_start=network, device="cpu")
    told = [replace(m, expected=25.0) for m in clicked]
    train(settings, told, warm_start=network, device="cpu")


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_same_seed_gives_the_same_bits(labelling: str) -> None:
    sheets = micrographs()
    begin = warm(sheets)
    hyperparameters = with_fixmatch(labelling=labelling)
    network, history = train(hyperparameters, sheets, warm_start=begin)
    again, history_again = train(hyperparameters, sheets, warm_start=warm(sheets))
    assert same(network, again)
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), history_again.drop(columns="seconds")
    )
    assert history["step"].iloc[-1] == 8
    assert {"keep_background", "pseudo_positive_rate"} <= set(history.columns)


def test_another_seed_gives_another_network() -> None:
    sheets = micrographs()
    assert not same(warm(sheets), train(HYPERPARAMETERS | {"seed": 4}, sheets)[0])


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_hidden_labels_never_reach_the_network(labelling: str) -> None:
    """Masks outside the labelled windows and test micrographs serve diagnosis only."""
    sheets = micrographs()
    rng = np.random.default_rng(9)
    spoilt = []
    for sheet in sheets:
        mask = rng.integers(0, 2, sheet.mask.shape).astype(np.int8)
        for y0, x0, y1, x1 in sheet.windows:
            mask[y0:y1, x0:x1] = sheet.mask[y0:y1, x0:x1]
        spoilt.append(replace(sheet, mask=mask))
        if sheet.split == "test":
            spoilt[-1] = replace(spoilt[-1], image=np.zeros_like(sheet.image))
    hyperparameters = with_fixmatch(labelling=labelling)
    honest, _ = train(hyperparameters, sheets, warm_start=warm(sheets))
    blind, _ = train(hyperparameters, spoilt, warm_start=warm(spoilt))
    assert same(honest, blind)


def test_unlabelled_micrographs_do_reach_it() -> None:
    """The counterpart: the test above would pass if FixMatch learned nothing from them."""
    sheets = micrographs()
    begin = warm(sheets)
    hyperparameters = with_fixmatch(guard=False)
    hyperparameters["training"]["validation_micrographs"] = 1
    no_validation = [s for s in sheets if s.split != "val"]
    other = [
        replace(s, image=s.image[::-1].copy()) if s.split == "train" and not s.windows else s
        for s in no_validation
    ]
    a, _ = train(hyperparameters, no_validation, warm_start=begin)
    b, _ = train(hyperparameters, other, warm_start=begin)
    assert not same(a, b)


@pytest.mark.parametrize("labelling", ["objects", "prevalence"])
@pytest.mark.parametrize("stop", [3, 4, 6])
def test_resumed_training_ends_in_the_same_bits(
    labelling: str, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets = micrographs()
    begin = warm(sheets)
    hyperparameters = with_fixmatch(labelling=labelling)
    whole, history = train(hyperparameters, sheets, warm_start=begin)

    class Killed(Exception):
        pass

    advance = Trainer.advance

    def dying(run: Trainer) -> None:
        if run.schedule.step == stop:
            raise Killed
        advance(run)

    checkpoint = tmp_path / "state.pt"
    monkeypatch.setattr(Trainer, "advance", dying)
    with pytest.raises(Killed):
        train(hyperparameters, sheets, warm_start=begin, checkpoint=checkpoint)
    assert checkpoint.exists()
    steps: list[int] = []

    def counted(run: Trainer) -> None:
        steps.append(run.schedule.step)
        advance(run)

    monkeypatch.setattr(Trainer, "advance", counted)
    resumed, history_resumed = train(
        hyperparameters, sheets, warm_start=begin, checkpoint=checkpoint
    )
    assert steps[0] == stop // 3 * 3  # it did not start over
    assert same(whole, resumed)
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), history_resumed.drop(columns="seconds")
    )
    assert not checkpoint.exists()


def test_checkpoint_of_other_hyperparameters_or_damaged_is_not_used(tmp_path: Path) -> None:
    sheets = micrographs()
    begin = warm(sheets)
    whole, _ = train(HYPERPARAMETERS, sheets, warm_start=begin)
    checkpoint = tmp_path / "state.pt"
    other = with_fixmatch(weight=0.3)
    run = Trainer(other, sheets, begin, torch.device("cpu"))
    run.advance()
    Checkpoint(checkpoint, "another key").save(run.parts())
    again, _ = train(HYPERPARAMETERS, sheets, warm_start=begin, checkpoint=checkpoint)
    assert same(whole, again)
    checkpoint.write_bytes(b"half a file")
    again, _ = train(HYPERPARAMETERS, sheets, warm_start=begin, checkpoint=checkpoint)
    assert same(whole, again)


def test_a_new_rule_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/extending.md, from the configuration to a trained network."""
    document = (ROOT / "docs/extending.md").read_text()
    function, line = re.findall(r"```python\n(.*?)```", document, re.DOTALL)[:2]
    assert len(line.splitlines()) == 1
    space: dict[str, Any] = {"Tensor": torch.Tensor}
    exec(function, space)
    (new,) = eval(f"{{{line.strip()}}}", {"LabellingRule": LabellingRule}).items()
    name, rule = new
    config = {
        "datasets": {"d": {"simulate": {"n_micrographs": 9}, "particle_radius": 20}},
        "arms": {
            "supervised": {"method": "supervised"},
            "mine": {"method": "fixmatch", "labelling": name},
        },
    }
    with pytest.raises(InputError, match="labelling is 'entropy'; give one of objects, pos"):
        complete(config, load_schema())
    with pytest.raises(InputError, match=r"unknown rule 'entropy' \(choose from objects, pos"):
        train(with_fixmatch(labelling=name), micrographs(), warm_start=warm(micrographs()))

    monkeypatch.setattr(labelling_functions, name, space[name], raising=False)
    monkeypatch.setitem(LABELLING_RULES, name, rule)
    resolved = resolve_arm(complete(config, load_schema()), "mine", 0.1, 3)
    own = {"pseudo_label_threshold", "confidence_threshold", "doubt", "keep_fraction", "views"}
    assert own & set(resolved["fixmatch"]) == {"pseudo_label_threshold", "views"}
    sheets = micrographs()
    begin = warm(sheets)
    settings = resolved["fixmatch"] | {"unlabeled_batch_size": 2}
    network, history = train(HYPERPARAMETERS | {"fixmatch": settings}, sheets, warm_start=begin)
    assert history["pseudo_positive_rate"].notna().all()
    assert not same(
        network, train(with_fixmatch(labelling="unmasked"), sheets, warm_start=begin)[0]
    )


def test_one_and_two_thresholds_train_the_same_network() -> None:
    """One threshold or two, end to end: not a bit of the result differs."""
    sheets = micrographs()
    begin = warm(sheets)
    fixed = with_fixmatch(labelling="two_thresholds", teacher="student", teacher_views=1)
    one = copy.deepcopy(fixed)
    one["fixmatch"]["pseudo_label_threshold"] = 0.70
    a, _ = train(fixed, sheets, warm_start=begin)
    b, _ = train(one, sheets, warm_start=begin)
    assert same(a, b)


def test_guard_goes_back_and_never_ends_below_the_warm_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rule that collapses, with the guard on."""
    sheets = micrographs()
    begin = warm(sheets)
    hyperparameters = with_fixmatch(
        labelling="unmasked", pseudo_label_threshold=0.999, weight=50.0, ramp=0.0
    )
    hyperparameters["training"]["steps"] = 46
    _, history = train(hyperparameters, sheets, warm_start=begin)
    assert "drift towards collapse" in caplog.text
    assert history["lambda"].iloc[-1] < 50
    caplog.clear()
    hyperparameters["fixmatch"]["guard"] = False
    train(hyperparameters, sheets, warm_start=begin)
    assert "drift" not in caplog.text


def test_a_better_rival_is_returned_and_draws_the_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets = micrographs()
    begin = warm(sheets)
    rival, _ = train(HYPERPARAMETERS | {"seed": 4}, sheets)
    teachers: list[UNet] = []
    draw = fixmatch.ObjectRule.draw

    def watched(self: fixmatch.ObjectRule, teacher: UNet, rng: np.random.Generator) -> None:
        teachers.append(copy.deepcopy(teacher))
        draw(self, teacher, rng)

    def run(score_of_rival: float, micrographs: list[Micrograph] = sheets) -> UNet:
        """Train beside the rival, where every other network scores 0.5 on validation."""

        def judge(network: UNet, *_: Any) -> Validation:
            score = score_of_rival if same(network, rival) else 0.5
            return Validation(score, score, 0.5, 0.5)

        monkeypatch.setattr(validation, "validate", judge)
        teachers.clear()
        return train(HYPERPARAMETERS, micrographs, warm_start=begin, rival=rival)[0]

    monkeypatch.setattr(fixmatch.ObjectRule, "draw", watched)
    assert same(run(0.9), rival)
    assert [same(teacher, rival) for teacher in teachers] == [True, True]
    alone = run(0.1)
    assert not same(alone, rival)
    assert same(teachers[0], begin)
    assert same(alone, train(HYPERPARAMETERS, sheets, warm_start=begin)[0])
    # Nothing tells which is better.
    unseen = [sheet for sheet in sheets if sheet.split != "val"]
    assert same(run(0.9, unseen), train(HYPERPARAMETERS, unseen, warm_start=begin)[0])


@pytest.mark.parametrize("labelling", LABELLINGS)
def test_several_data_sets_train_and_resume(labelling: str, tmp_path: Path) -> None:
    """The second set is half as large, and has no label for training."""
    first = micrographs()
    second = [
        replace(sheet, dataset="other", name=f"o{sheet.name}", windows=(), points=np.empty((0, 2)))
        if sheet.split == "train"
        else replace(sheet, dataset="other", name=f"o{sheet.name}")
        for sheet in micrographs(1)
    ]
    small = [
        replace(s, image=s.image[:96, :96], mask=s.mask[:96, :96], area=(0, 0, 96, 96))
        for s in second
        if s.split != "val"
    ]
    sheets = [*first, *small, *(s for s in second if s.split == "val")]
    begin = train(HYPERPARAMETERS, sheets)[0]
    hyperparameters = with_fixmatch(labelling=labelling)
    whole, history = train(hyperparameters, sheets, warm_start=begin)
    assert {"val_pick_f1.set", "val_threshold.other"} <= set(history.columns)
    calls = iter([False] * 4 + [True])
    path = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(hyperparameters, sheets, warm_start=begin, checkpoint=path, stop=lambda: next(calls))
    resumed, _ = train(hyperparameters, sheets, warm_start=begin, checkpoint=path)
    assert same(whole, resumed)


def test_each_round_starts_a_new_network_from_labels_of_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets = micrographs()
    begin = warm(sheets)
    run = Trainer(with_fixmatch(rounds=2), sheets, begin, torch.device("cpu"))
    teachers, students = [], []
    assert run.consistency is not None
    draw = run.consistency.draw

    def watched(teacher: torch.nn.Module, rng: np.random.Generator) -> None:
        assert isinstance(teacher, UNet)
        teachers.append(copy.deepcopy(teacher))
        assert same(teacher, with_weights(begin, run.best.weights))
        draw(teacher, rng)

    monkeypatch.setattr(run.consistency, "draw", watched)
    for step in range(run.schedule.steps):
        run.advance()
        if step in (0, run.schedule.steps // 2):
            students.append(copy.deepcopy(run.learner.network))
    assert len(teachers) == 2
    assert same(teachers[0], begin)
    assert not same(students[0], students[1])


@pytest.mark.parametrize(
    ("student", "few", "goes_on"),
    [
        ("new", 0, False),
        ("new", 1000, False),
        ("continued", 1000, True),
        ("auto", 0, True),
        ("auto", 1000, False),
    ],
)
def test_the_teacher_itself_goes_on_where_labels_are_many(
    monkeypatch: pytest.MonkeyPatch, student: str, few: int, goes_on: bool
) -> None:
    """The labelled particles, of which the sheets hold dozens, are more than `few` or fewer."""
    monkeypatch.setattr("fewpick.training.train.FEW_PARTICLES", few)
    sheets = micrographs()
    run = Trainer(with_fixmatch(student=student), sheets, warm(sheets), torch.device("cpu"))
    run._begin_round()
    assert same(run.learner.network, with_weights(run.learner.network, run.best.weights)) == goes_on
    assert all(guard.new_students != goes_on for guard in run.guards.guards.values())
    # What learns is a copy: the best weights stay as they are.
    before = copy.deepcopy(run.best.weights)
    run.advance()
    assert all(torch.equal(before[key], value) for key, value in run.best.weights.items())


@pytest.mark.parametrize(("without_labels", "goes_on"), [(1, True), (2, False)])
def test_a_network_that_saw_labels_of_few_data_sets_starts_anew(
    monkeypatch: pytest.MonkeyPatch, without_labels: int, goes_on: bool
) -> None:
    """One data set has labels enough for two, not for three."""
    sheets = micrographs()
    n = sum(len(m.points) for m in sheets if m.split == "train" and m.label_windows())
    monkeypatch.setattr("fewpick.training.train.FEW_PARTICLES", n // 3)
    for number in range(without_labels):
        sheets += [
            replace(m, dataset=f"other{number}", windows=(), points=np.empty((0, 2)))
            for m in micrographs()
            if m.split == "train"
        ]
    hyperparameters = with_fixmatch(student="auto")
    run = Trainer(hyperparameters, sheets, warm(micrographs()), torch.device("cpu"))
    assert run._new_students() != goes_on


def with_weights(network: UNet, weights: dict[str, torch.Tensor]) -> UNet:
    copied = copy.deepcopy(network)
    copied.load_state_dict(weights)
    return copied


def test_last_state_is_kept_on_demand() -> None:
    """The best one may be the warm start itself; the last one is the average after all steps."""
    sheets = micrographs()
    begin = warm(sheets)
    hyperparameters = with_fixmatch(labelling="unmasked", pseudo_label_threshold=0.999, guard=False)
    hyperparameters["training"]["keep"] = "last"
    run = Trainer(hyperparameters, sheets, begin, torch.device("cpu"))
    while run.schedule.step < run.schedule.steps:
        run.advance()
    network, _ = train(hyperparameters, sheets, warm_start=begin)
    assert same(network, run.ema.network)


def test_supervised_training_ends_in_time_without_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network of the last check within the bound, in the warm start and after it."""
    sheets = [replace(sheet, split="train", windows=()) for sheet in micrographs() if sheet.windows]
    sheets[0] = micrographs()[0]
    n = len(sheets[0].points)
    hyperparameters = copy.deepcopy(HYPERPARAMETERS)
    hyperparameters["training"] |= {"warm_start_steps": 40, "steps": 60, "checks": 8}
    assert not any(sheet.split == "val" for sheet in sheets)
    checks = sorted(check_steps(40, 8))

    def kept(steps_per_particle: float) -> UNet:
        monkeypatch.setattr("fewpick.training.train.STEPS_PER_PARTICLE", steps_per_particle)
        return train(hyperparameters, sheets)[0]

    def state_at(step: int) -> UNet:
        run = Trainer(hyperparameters, sheets, None, torch.device("cpu"))
        while run.schedule.step < step:
            run.advance()
        return run.ema.network

    assert same(kept(checks[2] / n), state_at(checks[2]))
    assert same(kept((checks[3] - 0.5) / n), state_at(checks[2]))
    whole = kept(40 / n)
    assert same(whole, state_at(40))
    supervised = hyperparameters | {"method": "supervised", "fixmatch": None}
    after, _ = train(supervised, sheets, warm_start=whole)
    assert same(after, whole)
    monkeypatch.setattr("fewpick.training.train.STEPS_PER_PARTICLE", 60)
    after, _ = train(supervised, sheets, warm_start=whole)
    assert not same(after, whole)


def test_rounds_cover_all_steps() -> None:
    assert [round_of(step, 7, 2) for step in (0, 2, 3, 6)] == [
        (0, 0, 3),
        (0, 0, 3),
        (1, 3, 4),
        (1, 3, 4),
    ]
    assert round_of(2, 3, 5)[1:] == (2, 1)
    assert {3, 7} <= check_steps(7, 1, rounds=2)


def test_recall_is_of_the_probabilities_and_not_of_their_order() -> None:
    sheets = micrographs()
    network = warm(sheets)
    held_out = [s for s in sheets if s.split == "val"]
    bias = network.head[0].bias
    assert isinstance(bias, torch.Tensor)
    for shift, recall in ((40, 1.0), (-80, 0.0)):
        with torch.no_grad():
            bias += shift
        assert validate(network, held_out, torch.device("cpu"), 1).pixel_recall == recall


def test_without_labels_there_is_nothing_to_train_on() -> None:
    unlabelled = [replace(s, windows=(), points=np.empty((0, 2))) for s in micrographs()]
    with pytest.raises(InputError, match="labelled"):
        train(HYPERPARAMETERS, unlabelled)


def test_clicked_particles_label_their_surroundings_only() -> None:
    sheet = replace(micrographs()[0], windows=(), points=np.array([[64.0, 40.0]]), clicked=True)
    labels = sheet.labels()
    assert labels[40, 64] == 1
    assert labels[40, 64 + 5] == -1  # between its disc and its rim
    assert labels[40, 64 + 8] == 0  # a neighbour's disc cannot reach here
    assert labels[40, 64 + 12] == -1
    assert (labels == 1).sum() == pytest.approx(np.pi * 4**2, rel=0.1)


def test_negatives_and_clicks_beside_an_area() -> None:
    """Clicks count outside the area; a negative is background, wherever it lies."""
    sheet = replace(
        micrographs()[0],
        windows=((0, 0, 20, 128),),
        points=np.array([[64.0, 60.0]]),
        negatives=np.array([[20.0, 60.0], [64.0, 52.0]]),
        clicked=True,
    )
    alone = replace(sheet, windows=(), negatives=np.empty((0, 2)))
    # Particles of the area that are not among the points are left open.
    in_area = np.where(sheet.mask[:20] == 1, -1, sheet.mask[:20])
    np.testing.assert_array_equal(sheet.labels()[:20], in_area)
    expected = alone.labels()[20:]
    y, x = np.mgrid[20:128, :128]
    for cx, cy in sheet.negatives:
        expected[(np.hypot(x - cx, y - cy) <= 4) & (expected != 1)] = 0
    np.testing.assert_array_equal(sheet.labels()[20:], expected)
    reach = int(np.ceil(1.4 * sheet.radius))
    assert sheet.label_windows() == [
        (0, 0, 20, 128),
        *((y - reach, x - reach, y + reach, x + reach) for x, y in ((64, 60), (20, 60), (64, 52))),
    ]


def test_ema_follows_parameters_and_buffers() -> None:
    network = UNet(2, (8, 16), "batch")
    ema = Ema(network, 0.5)
    with torch.no_grad():
        for value in [*network.parameters(), *network.buffers()]:
            if value.is_floating_point():
                value.fill_(1.0)
    for _ in range(60):
        ema.update(network)
    for value in [*ema.network.parameters(), *ema.network.buffers()]:
        if value.is_floating_point():
            torch.testing.assert_close(value, torch.ones_like(value))
    assert not ema.network.training


def test_schedule() -> None:
    rates = [learning_rate(step, 100, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.2, abs=0.01)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] < 1e-3
    assert sorted(even_steps(100, 4)) == [25, 50, 75, 100]
    # Early ones at growing distances, and even ones, in every arm and phase.
    assert sorted(check_steps(100, 4)) == [5, 14, 25, 37, 50, 75, 100]
    early = sorted(check_steps(500, 6))
    assert early[0] == 5
    assert early[-1] == 500
    assert check_steps(3, 10) == {1, 2, 3}
    assert 0 not in check_steps(4, 10)


@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_all_arms_are_looked_at_after_the_same_steps(method: str) -> None:
    """Else one would be stopped at its best by better luck than the other."""
    hyperparameters = copy.deepcopy(HYPERPARAMETERS) | {"method": method}
    hyperparameters["training"] |= {"steps": 46, "checks": 3}
    hyperparameters["fixmatch"] |= {"rounds": 1}
    if method == "supervised":
        hyperparameters["fixmatch"] = None
    warm = UNet(**hyperparameters["model"])
    run = Trainer(hyperparameters, micrographs(), warm, torch.device("cpu"))
    assert run.schedule.checks == {5, 13, 14, 27, 40}
    assert run.schedule.even_checks == {13, 27, 40}


def test_validation_and_pseudo_labels_use_the_configured_distance_of_picks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = []

    def recorded(*given: Any, nms_radius: float, **more: Any) -> Any:
        used.append(nms_radius)
        return find_peaks(*given, nms_radius=nms_radius, **more)

    monkeypatch.setattr("fewpick.tuning.validation.find_peaks", recorded)
    hyperparameters = copy.deepcopy(HYPERPARAMETERS)
    hyperparameters["training"] |= {"nms_radius": 0.7, "steps": 8}
    hyperparameters["fixmatch"] |= {"rounds": 1}
    train(hyperparameters, micrographs(), warm_start=UNet(**hyperparameters["model"]))
    assert len(used) > 4
    assert set(used) == {0.7}


def test_pseudo_labels_can_do_without_validation_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold of the teacher's picks comes from the training labels alone."""
    hyperparameters = copy.deepcopy(HYPERPARAMETERS)
    hyperparameters["training"] |= {"steps": 7}
    hyperparameters["fixmatch"] |= {"rounds": 1}
    asked: list[set[str]] = []

    def recorded(found: Any, annotated: Any) -> tuple[float, str]:
        asked.append({m.split for m in annotated})
        return without_validation(found, annotated)

    monkeypatch.setattr("fewpick.training.fixmatch.without_validation", recorded)
    warm = UNet(**hyperparameters["model"])
    train(hyperparameters, micrographs(), warm_start=warm)
    assert asked == []
    hyperparameters["fixmatch"] |= {"threshold_labels": "training"}
    train(hyperparameters, micrographs(), warm_start=warm)
    assert asked == [{"train"}]


@pytest.mark.parametrize("model", [HYPERPARAMETERS["model"], {"stem_stride": 1, "widths": [8, 16]}])
def test_model_files_round_trip(model: dict[str, Any], tmp_path: Path) -> None:
    network = UNet(**model)
    path = tmp_path / "model.safetensors"
    model_file.save_model(path, network, HYPERPARAMETERS | {"model": model})
    loaded = model_file.load_model(path)
    assert same(network, loaded.network)
    first = path.read_bytes()
    model_file.save_model(path, network, HYPERPARAMETERS | {"model": model})
    assert path.read_bytes() == first
    path.write_bytes(first[: len(first) // 2])
    with pytest.raises(InputError, match=r"model\.safetensors: not a fewpick model"):
        model_file.load_model(path)


def test_classic_network_is_available() -> None:
    classic = UNet(1, (64, 128, 256, 512, 1024), "batch")
    assert sum(p.numel() for p in classic.parameters()) == pytest.approx(31e6, rel=0.01)
    with torch.no_grad():
        assert UNet(4).eval()(torch.zeros(1, 1, 64, 96)).shape == (1, 1, 64, 96)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried"),
            "memory is full (CUDA out of memory.)",
        ),
        (torch.AcceleratorError("CUDA error: device is lost\nmore"), "failed (CUDA error: device"),
    ],
)
def test_failing_gpu_is_told_in_one_line(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(run: Trainer) -> None:
        raise error

    monkeypatch.setattr(Trainer, "advance", failing)
    with pytest.raises(InputError, match=re.escape(message)) as told:
        train(HYPERPARAMETERS, micrographs())
    assert "\n" not in str(told.value)


def test_checkpoint_of_another_device_is_not_used(tmp_path: Path) -> None:
    """Generators of other devices have states of other sizes, and networks round differently."""
    sheets = micrographs()
    whole, _ = train(HYPERPARAMETERS, sheets)
    checkpoint = tmp_path / "state.pt"
    with pytest.raises(Stopped):
        train(HYPERPARAMETERS, sheets, checkpoint=checkpoint, stop=lambda: True)
    content = torch.load(checkpoint, weights_only=True)
    content["key"] = content["key"].replace('"cpu"', '"cuda"')
    content["state"]["streams"]["generator"] = torch.zeros(16, dtype=torch.uint8)
    torch.save(content, checkpoint)
    again, _ = train(HYPERPARAMETERS, sheets, checkpoint=checkpoint)
    assert same(whole, again)


@needs_gpu
def test_gpu_picks_what_the_cpu_picks() -> None:
    sheets = micrographs()
    network, _ = train(long_enough(), sheets, device="cuda")
    for sheet in sheets:
        xy, score = peaks_of(network.cpu(), sheet, torch.device("cpu"), 4)
        other_xy, other_score = peaks_of(network.cuda(), sheet, torch.device("cuda"), 4)
        # Peaks above the floor: the faintest may fall on either side of it.
        sure, other_sure = score > 0.05, other_score > 0.05
        assert sure.sum() == other_sure.sum() > 20
        distance = np.linalg.norm(xy[sure][:, None] - other_xy[other_sure], axis=2).min(axis=1)
        assert distance.max() < 0.1
        np.testing.assert_allclose(score[sure], other_score[other_sure], atol=0.01)


@needs_gpu
@pytest.mark.parametrize("labelling", LABELLINGS)
def test_gpu_trains_to_the_score_of_the_cpu(labelling: str) -> None:
    sheets = micrographs()
    settings = long_enough(labelling)
    scores = {}
    for device in ("cpu", "cuda"):
        begin, _ = train(settings, sheets, device=device)
        _, history = train(settings, sheets, warm_start=begin, device=device)
        scores[device] = history["val_pick_f1"].max()
    assert scores["cuda"] > 0.9
    assert scores["cuda"] == pytest.approx(scores["cpu"], abs=0.05)


@needs_gpu
def test_gpu_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    sheets = micrographs()
    begin, _ = train(HYPERPARAMETERS, sheets, device="cuda")
    checkpoint = tmp_path / "state.pt"
    asked: list[int] = []

    def stop() -> bool:
        asked.append(0)
        return len(asked) == 4

    settings: dict[str, Any] = {"warm_start": begin, "device": "cuda", "checkpoint": checkpoint}
    with pytest.raises(Stopped):
        train(HYPERPARAMETERS, sheets, stop=stop, **settings)
    steps: list[int] = []
    _, history = train(
        HYPERPARAMETERS, sheets, on_step=lambda n, **values: steps.append(n), **settings
    )
    _, expected = train(HYPERPARAMETERS, sheets, warm_start=begin, device="cuda")
    assert steps == [5, 1, 1, 1]
    assert history["step"].tolist() == expected["step"].tolist()
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=0.05)
    assert not checkpoint.exists()


@needs_gpu
def test_recorded_passes_give_the_gradients_of_the_network() -> None:
    """Steps of two passes and one backward pass, as training takes them."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    plain = UNet(8).to(device)
    recorded = copy.deepcopy(plain)
    shapes = [(4, 1, 64, 64), (6, 1, 96, 96)]
    passes = forward_passes(recorded, shapes, device)
    for name, value in plain.state_dict().items():
        assert torch.equal(recorded.state_dict()[name], value), name
    for _ in range(3):
        batches = [torch.randn(shape, device=device) for shape in shapes]
        found = []
        students: list[tuple[UNet, list[Any]]] = [(plain, [plain, plain]), (recorded, passes)]
        for network, functions in students:
            network.train().zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                outputs = [f(batch) for f, batch in zip(functions, batches, strict=True)]
            sum(output.float().square().mean() for output in outputs).backward()
            parameters: list[torch.Tensor] = list(network.parameters())
            gradients = [p.grad for p in parameters if p.grad is not None]
            assert len(gradients) == len(parameters)
            found.append(torch.cat([g.flatten() for g in gradients]))
            with torch.no_grad():
                torch._foreach_sub_(parameters, gradients, alpha=0.01)
        # bfloat16 carries three digits, and atomic sums add up in any order.
        assert (found[0] - found[1]).norm() < 0.02 * found[0].norm()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(recorded.state_dict()[name], value, rtol=0.02, atol=0.02)
