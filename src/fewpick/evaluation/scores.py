"""Score picks and pixels on the annotated test micrographs.

Picks are matched one to one with the true centres in px of the original micrograph, at radii given
in particle diameters (see `matching`). Picks and true centres in the unannotated border are
ignored. Every annotated micrograph of the test split counts, even without picks or particles.

`score_run` scores one trained model, `score_external` the picks of another program; both use
`score_picks`, as do the trivial pickers in `baselines`. Each returns `Scores`, three tables that
`Scores.write` writes:

scores (one row per data set and, if there are several, `dataset = all` for their mean)
    The columns of the final table, see `comparison.result_table.NOTES`.
micrographs (one row per micrograph and match radius)
    arm labeled_ratio seed dataset micrograph radius n_truth n_picks tp fp fn precision recall f1
    and pixel_tp pixel_fp pixel_fn (at probability 0.5) for arms that give masks
curve (precision and recall against the threshold, per data set and match radius)
    arm labeled_ratio seed dataset radius threshold precision recall
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fewpick.errors import InputError
from fewpick.evaluation.all_datasets import ALL, append_all, mean_curve
from fewpick.evaluation.matching import (
    average_precision,
    is_true_by_score,
    match,
    precision_recall_curve,
    precision_recall_f1,
)
from fewpick.evaluation.pixels import pixel_counts, pixel_scores
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.evaluation.truth import (
    Candidates,
    Truth,
    TruthFiles,
    flip,
    group_candidates,
    read_candidates,
    read_truths,
    validation_threshold,
)
from fewpick.stacks import read_table, write_table
from fewpick.stage_tables.definitions import LabelTable, ManifestTable

FLIPPED_ARM = "y_flipped"
# Use of validation labels, as named in tables.
SCORE_THRESHOLD = "score threshold"
CURVE_POINTS = 400  # kept per curve for plots; average precision uses all points


@dataclass(frozen=True)
class Key:
    """What identifies a row of the tables; `labeled_ratio` is NaN if not applicable."""

    arm: str
    labeled_ratio: float
    seed: int

    def label(self, table: pd.DataFrame) -> pd.DataFrame:
        """Prepend the columns arm, labeled_ratio and seed to a table."""
        named = {"arm": self.arm, "labeled_ratio": self.labeled_ratio, "seed": self.seed}
        return pd.concat([pd.DataFrame(named, index=table.index), table], axis=1)


@dataclass(frozen=True)
class Scores:
    """The three tables of one evaluation; see the module's docstring."""

    scores: pd.DataFrame
    micrographs: pd.DataFrame
    curve: pd.DataFrame

    def labelled(self, key: Key) -> Scores:
        """Prepend the columns of a key to all tables."""
        return Scores(*(key.label(t) for t in (self.scores, self.micrographs, self.curve)))

    @classmethod
    def stack(cls, parts: Sequence[Scores]) -> Scores:
        """Concatenate the rows of several evaluations."""
        return cls(
            *(
                pd.concat([getattr(part, name) for part in parts], ignore_index=True)
                for name in ("scores", "micrographs", "curve")
            )
        )

    def write(self, scores: Path, micrographs: Path, curve: Path) -> None:
        """Write the three tables as tsv."""
        for table, path in [
            (self.scores, scores),
            (self.micrographs, micrographs),
            (self.curve, curve),
        ]:
            write_table(table, path)


def score_picks(
    truths: Sequence[Truth], picks: Mapping[tuple[str, str], Candidates], radii: Sequence[float]
) -> Scores:
    """Score picks against the truth of each data set, with the mean over several as `all`.

    Parameters
    ----------
    truths : sequence of Truth
        The test micrographs; all of them count.
    picks : mapping of (dataset, micrograph) to Candidates
        Micrographs not in `truths` are ignored.
    radii : sequence of float
        Match radii in particle diameters; the first is the headline.

    Returns
    -------
    Scores
        Only the columns that follow from the picks, without those of `Key`.
    """
    micrographs: list[dict[str, Any]] = []
    ranking: list[pd.DataFrame] = []
    pairs: list[pd.DataFrame] = []
    for truth in truths:
        found = picks.get(truth.key, Candidates.none()).within(truth)
        for radius in radii:
            reach = radius * truth.diameter
            _, _, distance = match(found.xy[found.kept], truth.xy, reach)
            true = is_true_by_score(found.xy, found.score, truth.xy, reach)
            micrographs.append(
                {
                    "dataset": truth.dataset,
                    "micrograph": truth.micrograph,
                    "radius": radius,
                    "n_truth": len(truth.xy),
                    "n_picks": int(found.kept.sum()),
                    "tp": len(distance),
                }
            )
            about = {"dataset": truth.dataset, "radius": radius}
            ranking.append(pd.DataFrame({**about, "score": found.score, "true": true}))
            relative = distance / truth.diameter
            pairs.append(pd.DataFrame({**about, "px": distance, "diameters": relative}))
    if not micrographs:
        raise ValueError("no annotated test micrograph to score")
    table = pd.DataFrame(micrographs)
    table["fp"] = table["n_picks"] - table["tp"]
    table["fn"] = table["n_truth"] - table["tp"]
    measures = [precision_recall_f1(*row) for row in table[["tp", "fp", "fn"]].to_numpy()]
    # A micrograph with no particles and no picks is perfect, but would score 0 / 0 = 0 in the mean
    # over micrographs.
    empty = (table["n_truth"] + table["n_picks"]).to_numpy() == 0
    table[["precision", "recall", "f1"]] = np.where(empty[:, None], 1.0, np.array(measures))

    ranked, paired = pd.concat(ranking), pd.concat(pairs)
    names = list(dict.fromkeys(table["dataset"]))
    scores = []
    curves: dict[tuple[str, float], pd.DataFrame] = {}
    for name in names:
        part, rank, pair = (t[t["dataset"] == name] for t in (table, ranked, paired))
        scores.append({"dataset": name, **_pick_scores(part, rank, pair, radii)})
        curves |= {(name, radius): _curve(part, rank, radius) for radius in radii}
    if len(names) > 1:
        for radius in radii:
            parts = [curves[name, radius] for name in names]
            curves[ALL, radius] = mean_curve(parts, CURVE_POINTS)
    curve = pd.concat(
        [
            _thinned(curve).assign(dataset=name, radius=radius)
            for (name, radius), curve in curves.items()
        ],
        ignore_index=True,
    )
    columns = ["dataset", "radius", "threshold", "precision", "recall"]
    return Scores(append_all(pd.DataFrame(scores)), table, curve[columns])


def labelled_budget(ratio: pd.DataFrame, dataset: str) -> dict[str, int]:
    """Count the labels used by a run, for training and for validation.

    Parameters
    ----------
    ratio : DataFrame
        `ratio-{r}.tsv`, see `stage_tables.definitions.LabelTable`.
    dataset : str
        A data set, or "all".
    """
    rows = ratio if dataset == ALL else ratio[ratio["dataset"] == dataset]
    rows = rows[rows["labelled"] != "none"]
    train = rows[rows["split"] == "train"]
    validation = rows[rows["split"] == "val"]
    return {
        "n_labeled_micrographs": len(train),
        "n_labeled_particles": int(train["n_labeled_particles"].sum()),
        "n_validation_particles": int(validation["n_labeled_particles"].sum()),
    }


def score_run(
    key: Key,
    datasets: Mapping[str, TruthFiles],
    *,
    split: Path,
    ratio: Path,
    candidates: Path,
    pixels: Path | None,
    threshold: Path,
    history: Path,
    radii: Sequence[float],
    warm_start: Path | None = None,
    flipped_row: bool = False,
) -> Scores:
    """Score one trained model on the test micrographs.

    Parameters
    ----------
    key : Key
        Arm, labelled ratio and seed of the run.
    datasets : mapping of name to TruthFiles
    split, ratio : Path
        `split.tsv` and `ratio-{r}.tsv` of the seed.
    candidates, pixels : Path
        `candidates.tsv` and `pixels.tsv` of the run; `pixels` is None for programs without masks.
    threshold : Path
        `threshold.json`; candidates that score at least its `threshold` are picks.
    history : Path
        `history.tsv`; its last `seconds` is the training time.
    radii : sequence of float
        `evaluation.match_radii`, in particle diameters; the first is the headline.
    warm_start : Path, optional
        `history.tsv` of the warm start that the run continued from; its time is added.
    flipped_row : bool
        Add the y-flipped picks as rows of the arm `y_flipped` (done for the reference arm).

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If there is no test micrograph, or an input contains an invalid value.
    """
    chosen = json.loads(Path(threshold).read_text())
    least = {name: dataset_threshold(chosen, name) for name in datasets}
    truths = _test_truths(datasets, split)
    picks = read_candidates(candidates, least)
    result = score_picks(truths, picks, radii)
    upside_down = score_picks(truths, flip(picks, truths), radii)
    budget_rows = LabelTable.read(ratio)
    budget = pd.DataFrame([labelled_budget(budget_rows, d) for d in result.scores["dataset"]])
    scores = pd.concat([budget, result.scores], axis=1)
    micrographs = result.micrographs
    if pixels is not None:
        histograms = read_table(pixels)
        scores = scores.merge(pixel_scores(histograms), on="dataset", how="left")
        micrographs = micrographs.merge(
            pixel_counts(histograms), on=["dataset", "micrograph"], how="left"
        )
    scores[_flipped_column(radii)] = upside_down.scores[at_radius("pick_f1", radii[0])]
    # Thresholds are per data set, so the row `all` has none.
    scores["threshold"] = scores["dataset"].map(least)
    scores["validation_used_for"] = ", ".join(chosen.get("validation_used_for", [])) or np.nan
    histories = [read_table(path) for path in (warm_start, history) if path is not None]
    scores["train_seconds"] = sum(float(h["seconds"].max()) for h in histories if len(h))
    parts = [Scores(scores, micrographs, result.curve).labelled(key)]
    if flipped_row:
        control = pd.concat([budget, upside_down.scores], axis=1)
        control["threshold"] = scores["threshold"]
        control_key = Key(FLIPPED_ARM, key.labeled_ratio, key.seed)
        parts.append(
            Scores(control, upside_down.micrographs, upside_down.curve).labelled(control_key)
        )
    return Scores.stack(parts)


@dataclass(frozen=True)
class External:
    """Scores of another program's picks, and what is needed to draw them.

    Attributes
    ----------
    scores : Scores
    candidates : table with dataset, micrograph, x, y (px of the original) and score
    threshold : minimum score of a pick; -inf if all candidates are picks
    """

    scores: Scores
    candidates: pd.DataFrame
    threshold: float


def score_external(
    key: Key,
    dataset: str,
    files: TruthFiles,
    *,
    split: Path,
    validation: Sequence[Truth],
    candidates: pd.DataFrame,
    source: str,
    radii: Sequence[float],
    covered: Iterable[str] | None = None,
) -> External:
    """Score the picks of another program in the same way as those of a trained model.

    The threshold is chosen in the same way as for the arms (`threshold_policy`). Without scores, or
    without enough validation labels, all picks are kept. Without scores there is no average
    precision.

    Parameters
    ----------
    key : Key
        With a `labeled_ratio` of NaN, as the labels used by another program are unknown.
    dataset : str
        Data set that the picks belong to.
    files : TruthFiles
    split : Path
        `split.tsv` of the seed.
    validation : sequence of Truth
        From `truth.validation_truths`.
    candidates : DataFrame
        Columns micrograph, x, y and optionally score; px of the original micrograph, y = row of
        the array.
    source : str
        File or folder of the picks, for messages.
    radii : sequence of float
        As in `score_run`.
    covered : iterable of str, optional
        Micrographs the program was run on, if not all; its scores do not include others. If
        given, having no picks at all is not an error.

    Raises
    ------
    InputError
        If no picks are on micrographs of the data set, or no test micrograph is covered.
    """
    known = set(ManifestTable.read(files.manifest)["micrograph"])
    nothing = not len(candidates) and covered is not None and bool(known & set(covered))
    if not known & set(candidates["micrograph"]) and not nothing:
        first = candidates["micrograph"].iloc[0] if len(candidates) else None
        detail = "there are none" if first is None else f"the first is on {first}"
        raise InputError(
            f"{source}: no picks on micrographs of data set {dataset!r} ({detail}). Name the "
            "files or rows after the micrographs."
        )
    named = {dataset: files}
    test = read_truths(named, split, "test")
    if covered is not None:
        ran_on = set(covered)
        validation = [t for t in validation if t.micrograph in ran_on]
        test = [t for t in test if t.micrograph in ran_on]
    if not test:
        raise InputError(
            f"{source}: no picks on test micrographs of data set {dataset!r}. Run the program "
            f"on the test micrographs in {split}."
        )
    table = candidates.assign(dataset=dataset)
    has_scores = "score" in table and bool(table["score"].notna().any())
    chosen = None
    if has_scores:
        chosen = validation_threshold(group_candidates(table, -np.inf, source), validation)
    else:
        table["score"] = 1.0
    threshold = -np.inf if chosen is None else chosen.threshold
    picks = group_candidates(table, threshold, source)
    result = score_picks(test, picks, radii)
    upside_down = score_picks(test, flip(picks, test), radii)
    scores = result.scores.copy()
    if not has_scores:
        scores["average_precision"] = np.nan
    scores[_flipped_column(radii)] = upside_down.scores[at_radius("pick_f1", radii[0])]
    scores["threshold"] = np.nan if chosen is None else chosen.threshold
    scores["n_validation_particles"] = sum(len(t.xy) for t in validation) if has_scores else 0
    scores["validation_used_for"] = np.nan if chosen is None else SCORE_THRESHOLD
    found = Scores(scores, result.micrographs, result.curve).labelled(key)
    return External(found, table[["dataset", "micrograph", "x", "y", "score"]], threshold)


def _test_truths(datasets: Mapping[str, TruthFiles], split: Path) -> list[Truth]:
    truths = read_truths(datasets, split, "test")
    if not truths:
        raise InputError(
            f"{split}: no annotated test micrographs in data set(s) {', '.join(datasets)}. "
            "Annotate more micrographs or raise splits.test_fraction."
        )
    return truths


def _pick_scores(
    part: pd.DataFrame, ranking: pd.DataFrame, pairs: pd.DataFrame, radii: Sequence[float]
) -> dict[str, Any]:
    """Return the pick columns of one row of the table."""
    first = part[part["radius"] == radii[0]]
    n_truth, n_picks = int(first["n_truth"].sum()), int(first["n_picks"].sum())
    row: dict[str, Any] = {
        "n_test_micrographs": len(first),
        "n_test_particles": n_truth,
        "n_picks": n_picks,
    }
    for radius in radii:
        at = part[part["radius"] == radius]
        micro = precision_recall_f1(*at[["tp", "fp", "fn"]].sum())
        for measure, value in zip(("precision", "recall", "f1"), micro, strict=True):
            row[at_radius(f"pick_{measure}", radius)] = value
            row[at_radius(f"macro_{measure}", radius)] = float(at[measure].mean())
    ranked = ranking[ranking["radius"] == radii[0]]
    row["average_precision"] = average_precision(ranked["score"], ranked["true"], n_truth)
    near = pairs[pairs["radius"] == radii[0]]
    row["localisation_error_px"] = float(near["px"].median())
    row["localisation_error_diameters"] = float(near["diameters"].median())
    miscounted = float((first["n_picks"] - first["n_truth"]).abs().sum())
    row["count_error"] = miscounted / n_truth if n_truth else np.nan
    return row


def _curve(part: pd.DataFrame, ranking: pd.DataFrame, radius: float) -> pd.DataFrame:
    """Return all points of a precision-recall curve."""
    n_truth = int(part.loc[part["radius"] == radius, "n_truth"].sum())
    ranked = ranking[ranking["radius"] == radius]
    threshold, precision, recall = precision_recall_curve(ranked["score"], ranked["true"], n_truth)
    return pd.DataFrame({"threshold": threshold, "precision": precision, "recall": recall})


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    n = len(curve)
    kept = np.unique(np.linspace(0, n - 1, min(n, CURVE_POINTS)).round().astype(int))
    return curve.iloc[kept]


def at_radius(measure: str, radius: float) -> str:
    """Return the column name of a metric at a match radius: `pick_f1_0.3`."""
    return f"{measure}_{radius:g}"


def _flipped_column(radii: Sequence[float]) -> str:
    return "flipped_" + at_radius("pick_f1", radii[0])
