"""Keep studies apart: a second one in a results folder would replace models and tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from fewpick.errors import InputError
from fewpick.stage_tables.definitions import SplitTable


def refuse_other_study(results: Path, datasets: Mapping[str, Collection[str]]) -> None:
    """Refuse a results folder whose trainings used other data sets.

    A data set is the same if it has the same name and shares a micrograph.

    Parameters
    ----------
    results : Path
    datasets : mapping
        Name of each data set to the names of its micrographs.

    Raises
    ------
    InputError
        When the folder belongs to another study.
    """
    labels = results / "final/training/all/labels.tsv"
    for path in [*sorted(results.glob("splits/seed-*/split.tsv")), labels]:
        if not path.exists():
            continue
        held = {
            str(name): set(rows)
            for name, rows in SplitTable.read(path).groupby("dataset")["micrograph"]
        }
        if held.keys() != datasets.keys():
            theirs, ours = (", ".join(sorted(names)) for names in (held, datasets))
            what = f"{path}: these results are for the data sets {theirs}, not for {ours}."
        elif strangers := [name for name in held if held[name].isdisjoint(datasets[name])]:
            what = (
                f"{path}: these results are for other micrographs of the data set "
                f"{strangers[0]}, such as {min(held[strangers[0]])}."
            )
        else:
            continue
        raise InputError(
            f"{what} Run each study in its own folder (snakemake --directory), or move "
            f"{results}/ away first. To replace these results, delete {results}/splits and "
            f"{results}/final."
        )
