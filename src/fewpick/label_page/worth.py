"""Say what accuracy a number of labels gave in our measurements (docs/results.md)."""

from __future__ import annotations

# Labelled particles -> F1 of FixMatch within 0.3 diameters on EMPIAR-10017 (docs/results): single
# clicks that leave the rest unlabelled (empiar10017_clicks), and finished areas
# (empiar10017_tiles).
CLICKS = ((7, 0.82), (23, 0.83))
AREAS = ((7, 0.85), (24, 0.86), (108, 0.88))


def worth(n_marks: int, n_inside: int) -> str:
    """Return a sentence on the F1 that about this many labels gave on a public data set.

    Parameters
    ----------
    n_marks : number of marked particles
    n_inside : number of these inside finished areas
    """
    if n_marks == 0:
        return (
            "No particles are marked yet. A dozen, spread over several micrographs, is a "
            "good start."
        )
    table, kind = (AREAS, "in finished areas") if 2 * n_inside >= n_marks else (CLICKS, "clicked")
    known = [pair for pair in table if pair[0] <= n_marks][-1:]
    known += [pair for pair in table if pair[0] > n_marks][:1]
    first, *more = known
    text = f"On EMPIAR-10017, {first[0]} particles {kind} gave an F1 of {first[1]:.2f}"
    return text + "".join(f", {n} of {f1:.2f}" for n, f1 in more) + "."
