"""Estimate the number of picks per micrograph for data sets labelled by clicks only.

The initial network of a training has seen neither these micrographs nor the clicks. How its scores
fall off suggests a number of picks (`general.calibration`), which is then checked against the
clicks: if the network would miss too many of them, or finds all of them with far fewer picks, they
move the number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fewpick.final.quality import RatedCandidates, held_to_marks, rates_at
from fewpick.picking.picker import Picker, PreparedMicrograph
from fewpick.picking.without_labels import SAMPLE, network_verdict
from fewpick.sampling.training_set import Micrograph


def is_uncounted(micrographs: Sequence[Micrograph]) -> bool:
    """Return whether a data set is labelled by clicks only, without an expected particle count."""
    clicked = any(len(m.points) for m in micrographs)
    return clicked and not any(m.windows or m.expected is not None for m in micrographs)


def expected_picks(
    picker: Picker, micrographs: Sequence[Micrograph], sample: Sequence[str]
) -> float:
    """Estimate the number of picks per micrograph of one data set.

    Parameters
    ----------
    picker : `calibrated` picker that was not trained on the clicks
    micrographs : micrographs of the data set
    sample : names of the micrographs on which to count picks, from `sample.rate_sample`
    """
    prepared = {
        m.name: PreparedMicrograph(m.image, m.frame, m.radius, m.area, None)
        for m in micrographs
        if len(m.points) or m.name in sample
    }
    verdict, _ = network_verdict(picker, [prepared[name] for name in sample[:SAMPLE]])
    if verdict.bright:
        prepared = {name: replace(one, image=-one.image) for name, one in prepared.items()}
    found = {name: picker.find(one) for name, one in prepared.items()}
    candidates = RatedCandidates(
        {name: held.xy for name, held in found.items()},
        {name: np.asarray(held.score) for name, held in found.items()},
        sample,
    )
    rates = [
        rates_at(candidates, m.name, m.frame.to_original(m.points), 2 * m.radius / m.frame.scale)
        for m in micrographs
    ]
    most = candidates.rate_of_all()
    return held_to_marks(verdict.per_micrograph, np.minimum(np.concatenate(rates), most))
