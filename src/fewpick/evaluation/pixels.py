"""Score masks by pixels, from histograms of the predicted probability."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.evaluation.all_datasets import append_all
from fewpick.evaluation.matching import precision_recall_f1

PIXEL_THRESHOLD_BIN = 50  # of the 100 bins in pixels.tsv, i.e. probability 0.5


def pixel_scores(pixels: pd.DataFrame) -> pd.DataFrame:
    """Compute pixel scores from histograms of the predicted probability.

    Parameters
    ----------
    pixels : DataFrame
        dataset, micrograph, split, bin, n_particle, n_background: annotated pixels per bin of
        probability (100 bins), of test micrographs and the labelled part of validation micrographs.

    Returns
    -------
    DataFrame
        One row per data set and, with several, their mean as `all`: dataset, pixel_precision,
        pixel_recall, pixel_f1 (at probability 0.5), tuned_pixel_f1 (at the probability that is
        best on the validation pixels of all data sets; NaN without any), all_positive_pixel_f1
        (`2 pi / (1 + pi)`).
    """
    validation = pixels[pixels["split"] == "val"]
    threshold = None
    if validation["n_particle"].sum() > 0:
        counts = _histogram(validation)
        threshold = int(
            np.argmax([precision_recall_f1(*_at_threshold(counts, b))[2] for b in range(100)])
        )
    test = pixels[pixels["split"] == "test"]
    rows = []
    for name, part in test.groupby("dataset", sort=False):
        counts = _histogram(part)
        precision, recall, f1 = precision_recall_f1(*_at_threshold(counts, PIXEL_THRESHOLD_BIN))
        tuned = (
            np.nan
            if threshold is None
            else precision_recall_f1(*_at_threshold(counts, threshold))[2]
        )
        rows.append(
            {
                "dataset": name,
                "pixel_precision": precision,
                "pixel_recall": recall,
                "pixel_f1": f1,
                "tuned_pixel_f1": tuned,
                "all_positive_pixel_f1": precision_recall_f1(*_at_threshold(counts, 0))[2],
            }
        )
    columns = ["dataset", "pixel_precision", "pixel_recall", "pixel_f1", "tuned_pixel_f1"]
    columns += ["all_positive_pixel_f1"]
    return append_all(pd.DataFrame(rows, columns=columns))


def pixel_counts(pixels: pd.DataFrame) -> pd.DataFrame:
    """Count true positive, false positive and false negative pixels at probability 0.5.

    Parameters
    ----------
    pixels : DataFrame
        As in `pixel_scores`.

    Returns
    -------
    DataFrame
        One row per test micrograph: dataset, micrograph, pixel_tp, pixel_fp, pixel_fn.
    """
    test = pixels[pixels["split"] == "test"]
    above = test["bin"] >= PIXEL_THRESHOLD_BIN
    counts = pd.DataFrame(
        {
            "dataset": test["dataset"],
            "micrograph": test["micrograph"],
            "pixel_tp": test["n_particle"].where(above, 0),
            "pixel_fp": test["n_background"].where(above, 0),
            "pixel_fn": test["n_particle"].where(~above, 0),
        }
    )
    return counts.groupby(["dataset", "micrograph"], sort=False).sum().reset_index()


def _histogram(pixels: pd.DataFrame) -> NDArray[np.float64]:
    """Return a (2, 100) array of particle and background pixels per bin."""
    return np.stack(
        [
            np.bincount(pixels["bin"], weights=pixels[column], minlength=100)
            for column in ("n_particle", "n_background")
        ]
    )


def _at_threshold(counts: NDArray[np.float64], threshold: int) -> tuple[float, float, float]:
    """Return true positive, false positive and false negative pixels at a threshold in bins."""
    (tp, fp), fn = counts[:, threshold:].sum(axis=1), counts[0, :threshold].sum()
    return float(tp), float(fp), float(fn)
