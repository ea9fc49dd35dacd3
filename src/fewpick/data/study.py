"""A folder of results belongs to one study: another one would replace its models and tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from fewpick.errors import InputError
from fewpick.stage_tables.definitions import SplitTable


def refuse_other_study(results: Path, datasets: Mapping[str, Collection[str]]) -> None:
    """Refuse to go on in a folder whose trainings are on other data sets.

    A data set is the same when it has its name and any of its micrographs.

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
            what = f"{path}: these results are of the data sets {theirs}, not of {ours}."
        elif strangers := [name for name in held if held[name].isdisjoint(datasets[name])]:
            what = (
                f"{path}: these results are of other micrographs than those of the data set "
                f"{strangers[0]}, such as {min(held[strangers[0]])}."
            )
        else:
            continue
        raise InputError(
            f"{what} Run each study in a folder of its own (snakemake --directory), or move "
            f"{results}/ away first. To replace these results, delete {results}/splits and "
            f"{results}/final."
        )
