"""Summarise a comparison in sentences: the answer first, then reasons for caution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from fewpick.comparison.markdown import seeds_above, validation_use
from fewpick.data.masks import HIGH_PREVALENCE
from fewpick.evaluation.all_datasets import ALL
from fewpick.evaluation.baselines import DIFFERENCE_OF_GAUSSIANS, RANDOM
from fewpick.evaluation.scores import FLIPPED_ARM

# Differences in F1 that count as equal when looking for the fewest sufficient labels.
EQUAL = 0.02
# Drop in F1 with more labels that is worth mentioning.
FALL = 0.01
# With more arms than this, being the best is partly luck.
MANY_ARMS = 3
# With fewer test micrographs than this, the page warns.
FEW_MICROGRAPHS = 5
# A validation score that ends below this fraction of its best has drifted; below half, it has
# collapsed.
DRIFTED, COLLAPSED = 0.9, 0.5
# Flipped picks only tell of a wrong y axis if their F1 is this many times that of random picks.
ABOVE_CHANCE = 1.5


def share(ratio: float) -> str:
    """Return a labelled ratio as a percentage: "5 %"."""
    return f"{100 * ratio:.3g} %"


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trained arms' means over seeds."""
    trained = (table["labeled_ratio"] > 0) & (table["arm"] != FLIPPED_ARM)
    return table[trained & (table["seed"] == "mean")]


def answers(table: pd.DataFrame, reference: str, headline: str) -> list[str]:
    """Return the findings, a sentence per data set and per labelled ratio."""
    said = []
    for dataset, rows in _by_dataset(means(table), headline):
        where = f"{dataset}: " if table["dataset"].nunique() > 1 else ""
        best = rows.sort_values(headline).iloc[-1]
        enough = rows[rows[headline] >= best[headline] - EQUAL].sort_values("n_labeled_particles")
        least = enough.iloc[0]
        said.append(
            f"{where}The best picks reach an F1 of {best[headline]:.2f} ({best['arm']}, "
            f"{_particles(best)}). {_fewest(rows, best, least, headline)}"
        )
        for _, part in rows.groupby("labeled_ratio"):
            said += [where + line for line in _gain(part, headline, reference)]
    return said


def best_run(table: pd.DataFrame, headline: str) -> dict[str, Any] | None:
    """Name the best arm and labelled ratio; with several data sets, by the mean over them."""
    rows = means(table).dropna(subset=headline)
    if (pooled := rows["dataset"] == ALL).any():
        rows = rows[pooled]
    if rows.empty:
        return None
    best = rows.sort_values(headline).iloc[-1]
    return {"arm": str(best["arm"]), "ratio": round(float(best["labeled_ratio"]), 4)}


def interval_of(table: pd.DataFrame) -> str:
    """Describe the interval of an F1, which with one seed covers test micrographs only."""
    if _n_seeds(table) == 1:
        return "its spread over the test micrographs of one training (one seed)"
    return "its 95 % interval over test micrographs and seeds"


def _n_seeds(table: pd.DataFrame) -> int:
    return int(table.loc[~table["seed"].isin(["mean", "sd"]), "seed"].nunique())


def cautions(
    table: pd.DataFrame,
    reference: str,
    datasets: Iterable[Mapping[str, Any]],
    health: Iterable[Mapping[str, Any]],
    headline: str,
) -> list[str]:
    """Return reasons to doubt the findings in `answers`.

    Parameters
    ----------
    table : from `result_table.build_table`
    reference : baseline arm for differences
    datasets : rows from `datasets.describe`
    health : rows from `health`
    headline : F1 column at the headline match radius
    """
    said = list(_of_datasets(datasets))
    rows = means(table)
    if _n_seeds(table) == 1:
        said.append(
            "Only one seed: a different split or different initial weights may reverse the "
            "differences. Intervals show only the spread over the test micrographs of one "
            "training. Run at least three seeds (splits.seeds)."
        )
    for dataset, part in _by_dataset(rows, headline):
        where = f"{dataset}: " if table["dataset"].nunique() > 1 else ""
        n_test = part["n_test_micrographs"].max()
        if n_test < FEW_MICROGRAPHS:
            said.append(
                f"{where}Scored on {n_test:g} test micrograph{'' if n_test == 1 else 's'}: "
                "intervals from so few are wide. Annotate more micrographs, or raise "
                "splits.test_fraction."
            )
        budget, spent = part["n_labeled_particles"].min(), part["n_validation_particles"].max()
        if spent > budget:
            use = " ".join(validation_use(part)).replace("`", "")  # the page is not Markdown
            said.append(
                f"{where}{use} The smallest training has {budget:,.0f} labels; a lab with so few "
                "would not have the extra ones. Set splits.validation to matched or none to do "
                "without them."
            )
        said += [where + line for line in _falls(part, headline)]
        controls = table[(table["dataset"] == dataset) & (table["seed"] == "mean")]
        if (n_arms := part["arm"].nunique()) > MANY_ARMS:
            said.append(
                f"{where}The best of {n_arms} arms was chosen by its test score, which is "
                "therefore optimistic."
            )
        blobs = controls.loc[controls["arm"] == DIFFERENCE_OF_GAUSSIANS, headline].max()
        best = part[headline].max()
        if blobs > best - EQUAL:
            said.append(
                f"{where}A blob filter without any training reaches {blobs:.2f}, the best arm "
                f"{best:.2f}. The filter is given the true count of each test micrograph, and "
                "takes polarity and width from validation labels. Either these particles are "
                "easy, or training does not make good use of the labels yet."
            )
        flipped = controls.loc[
            (controls["arm"] == FLIPPED_ARM) & controls[headline].notna(), headline
        ].max()
        chance = controls.loc[controls["arm"] == RANDOM, headline].max()
        own = part.loc[part["arm"] == reference, headline].max()
        if flipped > max(own, ABOVE_CHANCE * chance):
            said.append(
                f"{where}Picks flipped upside down score higher ({flipped:.2f}) than the picks "
                "themselves: the y axis of the coordinates is probably reversed. Set y_axis."
            )
    said += _of_trainings(list(health))
    return said


def health(run: Mapping[str, Any], history: pd.DataFrame) -> dict[str, Any]:
    """Summarise a training in numbers and one word.

    Parameters
    ----------
    run : arm, ratio, seed
    history : joined over the phases, see `history.join_phases`

    Returns
    -------
    `run` with val_start (after the warm start), val_best, val_last, agreement, pseudo_precision,
    pseudo_recall, pseudo_share (particle fraction of the pseudo-labels over that of the labels),
    and `state`: steady, drifted, collapsed or unknown (no validation labels). Missing values are
    None.
    """
    score = history.get("val_pick_f1", pd.Series(dtype=float)).dropna()
    last: dict[Any, Any] = history.iloc[-1].to_dict() if len(history) else {}
    warm = history[history["phase"] == "warm_start"] if "phase" in history else history[:0]
    start = warm["val_pick_f1"].dropna() if "val_pick_f1" in warm else pd.Series(dtype=float)

    def value(name: str) -> float | None:
        return float(last[name]) if pd.notna(last.get(name)) else None

    share, labelled = value("pseudo_positive_rate"), value("labelled_prevalence")
    state = "unknown"
    if len(score):
        kept = score.iloc[-1] / score.max() if score.max() > 0 else 0.0
        state = "collapsed" if kept < COLLAPSED else "drifted" if kept < DRIFTED else "steady"
    return {
        **run,
        "val_start": float(start.iloc[-1]) if len(start) else None,
        "val_best": float(score.max()) if len(score) else None,
        "val_last": float(score.iloc[-1]) if len(score) else None,
        "agreement": value("agreement"),
        "pseudo_precision": value("pseudo_precision"),
        "pseudo_recall": value("pseudo_recall"),
        "pseudo_share": share / labelled if share is not None and labelled else None,
        "state": state,
    }


def _falls(part: pd.DataFrame, headline: str) -> Iterator[str]:
    """Yield a sentence per arm that scores clearly lower with more labels."""
    for arm, rows in part.groupby("arm", sort=False):
        rows = rows.sort_values("n_labeled_particles")
        values, labels = rows[headline].to_numpy(), rows["n_labeled_particles"].to_numpy()
        for at in range(1, len(values)):
            if values[at] < values[:at].max() - FALL:
                before = int(values[:at].argmax())
                yield (
                    f"{arm} scores {values[at]:.2f} with {labels[at]:,.0f} labelled particles "
                    f"and {values[before]:.2f} with {labels[before]:,.0f}: more labels should "
                    "not make picks worse, so differences of this size are noise from the "
                    "choice of labels or from training. Run more seeds."
                )
                break


def _fewest(rows: pd.DataFrame, best: Any, least: Any, headline: str) -> str:
    """Return a sentence on how many labels it takes to come close to the best picks."""
    fewest, most = rows["n_labeled_particles"].min(), rows["n_labeled_particles"].max()
    if round(least["n_labeled_particles"]) < round(best["n_labeled_particles"]):
        return (
            f"{_particles(least)} come within {EQUAL:g} of it "
            f"({least['arm']}, {least[headline]:.2f})."
        )
    if round(best["n_labeled_particles"]) > round(fewest):
        return "No smaller number of labels tried comes close."
    if round(most) > round(fewest):
        return f"This is the smallest number tried; using up to {most:,.0f} was no better."
    return "No other number of labels was tried."


def _gain(part: pd.DataFrame, headline: str, reference: str) -> Iterator[str]:
    """Yield a sentence comparing the best other arm with the reference, at one labelled ratio."""
    base = part[part["arm"] == reference]
    others = part[(part["arm"] != reference) & part[f"delta_{headline}"].notna()]
    if base.empty or others.empty:
        return
    arm = others.sort_values(headline).iloc[-1]
    low, high = arm["delta_low"], arm["delta_high"]
    said = (
        f"With {_particles(arm)} ({share(arm['labeled_ratio'])} of the training data), "
        f"{arm['arm']} reaches {arm[headline]:.2f} and {reference} {base[headline].iloc[0]:.2f}: "
        f"{arm[f'delta_{headline}']:+.3f}"
    )
    seeds = f"above in {seeds_above(arm)} seeds"
    if low == high == 0:
        yield said + ": both have the same counts on every test micrograph."
    elif pd.isna(low):
        yield said + ", with no interval to judge it by (one test micrograph)."
    elif arm["n_seeds"] == 1:
        yield said + (
            f" [{low:+.3f}, {high:+.3f}], the spread over the test micrographs of this one "
            "training. It does not show what another seed would give."
        )
    elif low > 0 or high < 0:
        yield said + (
            f" [{low:+.3f}, {high:+.3f}], a difference whose 95 % interval excludes 0 ({seeds})."
        )
    else:
        yield said + (
            f" [{low:+.3f}, {high:+.3f}], which may be chance: the interval contains 0 ({seeds})."
        )


def _of_datasets(datasets: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in datasets:
        if row["orientation"] != "ok":
            yield (
                f"{row['dataset']}: the images do not confirm the frame of the coordinates "
                f"({row['orientation']}). Inspect the images below before you trust any score."
            )
        if left_out := row.get("left_out"):
            yield (
                f"{row['dataset']}: {left_out} of {left_out + row['micrographs']} micrographs "
                "are broken and were left out, with their coordinates. They are listed with "
                f"reasons in results/data/{row['dataset']}/left_out.tsv."
            )
        if row["prevalence"] is not None and row["prevalence"] > HIGH_PREVALENCE:
            yield (
                f"{row['dataset']}: particle discs cover {row['prevalence']:.0%} of the "
                "annotated area. Check that the particle size is in pixels of the original "
                "micrograph."
            )


def _of_trainings(health: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence per arm and labelled ratio whose trainings ended far below their best."""
    for arm, ratio in dict.fromkeys((row["arm"], row["ratio"]) for row in health):
        mine = [row for row in health if (row["arm"], row["ratio"]) == (arm, ratio)]
        fallen = [row for row in mine if row["state"] in ("collapsed", "drifted")]
        if fallen:
            worst = min(row["val_last"] / row["val_best"] for row in fallen if row["val_best"])
            yield (
                f"{arm} with {share(ratio)} of the training data: in {len(fallen)} of "
                f"{len(mine)} trainings the validation F1 fell from its best, at worst to "
                f"{worst:.0%} of it. Finding the best checkpoint takes validation labels."
            )


def _by_dataset(rows: pd.DataFrame, headline: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Split by data set, skipping rows pooled over several."""
    for name, part in rows.groupby("dataset", sort=False):
        if name != ALL and part[headline].notna().any():
            yield str(name), part


def _particles(row: Any) -> str:
    n = row["n_labeled_particles"]
    return f"{n:,.0f} labelled particle{'' if round(n) == 1 else 's'}"
