"""Train and run Topaz on the labels of a split, as a program that is never imported (GPL).

Topaz (Bepler et al. 2019, doi 10.1038/s41592-019-0575-8) learns from labelled particles, with the
rest as unlabelled data. It gets the preprocessed micrographs, the same images as the arms, at a
size that its network is made for (particles about 20 px wide), and normalises them with its own
mixture of two Gaussians. Thus every format that fewpick reads works, whereas Topaz 0.3.20 cannot
read JPG, and picks come back in the frame of the arms.

Coordinates here are pixels of the target frame less the padding, x = column, y = row.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewpick.atomic import atomic_path
from fewpick.coordinates import Picks, read_picks, write_picks
from fewpick.errors import InputError
from fewpick.evaluation.threshold_policy import datasets_with_enough
from fewpick.external.program import run_program
from fewpick.geometry import Frame
from fewpick.progress import Progress
from fewpick.stacks import Stack, read_table, write_table
from fewpick.stage_tables.definitions import LabelTable

logger = logging.getLogger(__name__)

# Radius in pixels around a labelled centre that counts as particle: Topaz's default.
RADIUS = 3
_OFFSETS = range(-RADIUS, RADIUS + 1)
DISC = sum(x * x + y * y <= RADIUS**2 for x in _OFFSETS for y in _OFFSETS)
# Topaz 0.3 counts the pixels of a labelled particle once for each of these planes, as if the disc
# were in a volume, and subtracts that inflated share from the expected one.
PLANES = {"0.3": 2 * RADIUS + 1}
# Log-likelihood at which extraction ends. Topaz's default of -6 shortens the ranking of models that
# have seen few labels, and with it their average precision.
LOWEST_SCORE = -20
TABLE = "images.tsv"
# Written during training: one row per step, and one per epoch for validation.
CURVE = "curve.tsv"
FOLLOWED = 10.0  # seconds between two readings of the curve

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Topaz:
    """The program on this machine.

    Attributes
    ----------
    executable : its path, or its name on the PATH
    threads : CPU threads
    gpu : whether to use the first GPU
    """

    executable: str
    threads: int = 1
    gpu: bool = False

    def __call__(self, command: str, *arguments: object, cwd: Path, stdin: str = "") -> None:
        """Run a command on the device, and log its output.

        Raises
        ------
        InputError : the program is missing, or fails
        """
        device = ["--device", "0" if self.gpu else "-1", "--num-threads", str(self.threads)]
        self._run([command, *device, *map(str, arguments)], cwd, stdin)

    def planes(self) -> int:
        """Return the factor by which this version overcounts the pixels of labelled particles."""
        version = self._run(["--version"], Path.cwd())
        found = re.search(r"\d+\.\d+", version)
        return PLANES.get(found[0], 1) if found else 1

    def _run(self, arguments: Sequence[str], cwd: Path, stdin: str = "") -> str:
        return run_program(
            self.executable,
            arguments,
            cwd,
            name=f"topaz {arguments[0]}",
            missing=(
                f"baselines.topaz.executable: {self.executable!r} was not found on this machine. "
                "Install Topaz, give its path, or remove baselines.topaz."
            ),
            threads=self.threads,
            stdin=stdin,
        )


def write_images(program: Topaz, stack: Path, folder: Path) -> None:
    """Write the micrographs of one shard for Topaz, and a table that describes them.

    Parameters
    ----------
    program : Topaz
    stack : `results/preprocessed/{dataset}/{shard}.mrcs`
    folder : gets one MRC per micrograph, without padding, and `images.tsv` with the columns image
        dataset micrograph and those of a `Frame`

    Raises
    ------
    InputError : Topaz fails, or does not write an image
    """
    shard = Stack(stack)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for image, row in zip(shard.images, shard.table.to_dict("records"), strict=True):
            frame = Frame.from_row(row)
            name = _image_name(stack.parent.name, row["micrograph"])
            picture = frame.without_padding(image)
            mrcfile.write(Path(temporary, f"{name}.mrc"), np.asarray(picture, np.float32))
            about = {"image": name, "dataset": stack.parent.name, "micrograph": row["micrograph"]}
            rows.append(about | frame.to_row())
        names = [f"{row['image']}.mrc" for row in rows]
        program("normalize", "--destdir", folder.resolve(), *names, cwd=Path(temporary))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(f"topaz normalize: did not write {folder / missing[0]}. See the log.")
    write_table(pd.DataFrame(rows), folder / TABLE)


def train_topaz(
    program: Topaz,
    folders: Sequence[Path],
    ratio_table: Path,
    settings: Mapping[str, Any],
    model: Path,
) -> pd.DataFrame:
    """Train on the labelled particles of a split, and keep the best epoch.

    All training micrographs are used, those without labels as unlabelled data. The epoch is the one
    with the best average precision of pixels on the labelled validation micrographs, which Topaz
    prints and its users rely on; without particles on them, the last one.

    Parameters
    ----------
    program : Topaz
    folders : as filled by `write_images`
    ratio_table : `results/splits/seed-{s}/ratio-{r}.tsv`
    settings : `network`, `epochs`, `epoch_updates` (parameter updates per epoch), and `pretrained`,
        whether to start from the weights shipped with Topaz
    model : path of the trained network

    Returns
    -------
    table of one row per epoch: epoch, seconds (since the start), loss, val_average_precision

    Raises
    ------
    InputError : Topaz fails or its output is not as expected
    """
    images = _join(folders, ratio_table)
    images["points"] = pd.Series([_points(row) for row in images.to_dict("records")])
    training = images[images["split"].isin(["train", "unannotated"])]
    validation = images[(images["split"] == "val") & (images["labelled"] != "none")]
    particles = zip(validation["dataset"], validation["points"].map(len), strict=True)
    validation = validation[validation["dataset"].isin(datasets_with_enough(particles))]
    expected, observed = positive_shares(training)
    share = expected + (program.planes() - 1) * observed
    options = ["--pi", f"{share:.6g}", "--radius", RADIUS, "--model", settings["network"]]
    options += ["--num-epochs", settings["epochs"], "--epoch-size", settings["epoch_updates"]]
    options += ["--pretrained" if settings["pretrained"] else "--no-pretrained"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _hand_over(training, folder, "train")
        options += ["--train-images", "train", "--train-targets", "train.txt"]
        if validation["points"].map(len).any():  # Topaz fails on an empty table
            _hand_over(validation, folder, "val")
            options += ["--test-images", "val", "--test-targets", "val.txt"]
        options += ["--save-prefix", "model", "--output", CURVE]
        begin = time.time()
        with _followed(folder / CURVE, settings["epochs"] * settings["epoch_updates"]):
            program("train", *options, cwd=folder)
        history, saved = _epochs(folder, begin)
        best = history["val_average_precision"]
        epoch = history["epoch"].iloc[-1 if best.isna().all() else best.argmax()]
        logger.info("keeping epoch %d of %d", epoch, len(history))
        with atomic_path(model) as path:
            shutil.copyfile(saved[epoch], path)
    return history


def positive_shares(training: pd.DataFrame) -> tuple[float, float]:
    """Return the shares of training pixels that belong to particles: expected and labelled.

    Computed here, because Topaz's `--num-particles` gives seven times the share.

    Parameters
    ----------
    training : rows of the training micrographs with dataset height width windows points expected;
        without an expected number, the density in the labelled windows of the data set is used
    """
    expected = observed = pixels = 0.0
    for _, rows in training.groupby("dataset"):
        area = float((rows["height"] * rows["width"]).sum())
        labelled = sum(map(len, rows["points"]))
        if rows["expected"].isna().all():
            windows = [window for held in rows["windows"] for window in held]
            expected += area * labelled / sum((y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in windows)
        else:
            expected += rows["expected"].mean() * len(rows)
        observed += labelled
        pixels += area
    return expected * DISC / pixels, observed * DISC / pixels


def extract(
    program: Topaz, folders: Sequence[Path], ratio_table: Path, model: Path, nms_radius: float
) -> pd.DataFrame:
    """Pick every micrograph with a trained network.

    Parameters
    ----------
    program, folders, ratio_table : as in `train`
    model : the trained network
    nms_radius : minimum distance between two picks in particle radii, as for the arms

    Returns
    -------
    dataset micrograph split x y score, best first, x and y in pixels of the original micrograph;
    none in the border without annotation

    Raises
    ------
    InputError : Topaz fails
    """
    images = _join(folders, ratio_table)
    images["reach"] = (nms_radius * images["radius"]).round().clip(lower=1).astype(int)
    found: dict[str, Picks] = {}
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary, "picks.txt")
        for reach, rows in images.groupby("reach"):
            options = ["--model", model.resolve(), "--radius", reach, "--output", output]
            options += ["--threshold", LOWEST_SCORE]
            paths = "".join(f"{path}\n" for path in rows["path"])
            program("extract", *options, cwd=Path(temporary), stdin=paths)
            if len(output.read_text().splitlines()) > 1:  # else no pick at all
                found |= read_picks(output, fmt="topaz")
    parts = []
    for row in images.to_dict("records"):
        picks = found.get(row["image"], Picks(np.empty((0, 2)), np.empty(0)))
        frame = Frame.from_row(row)
        xy = frame.with_padding(picks.xy)
        score = np.zeros(len(picks)) if picks.score is None else picks.score
        y0, x0, y1, x1 = row["area"]
        inside = ((xy >= (x0, y0)) & (xy < (x1, y1))).all(axis=1)
        part = pd.DataFrame(frame.to_original(xy[inside]), columns=["x", "y"])
        part["score"] = score[inside]
        for place, column in enumerate(("dataset", "micrograph", "split")):
            part.insert(place, column, row[column])
        parts.append(part.sort_values("score", ascending=False, kind="stable"))
    return pd.concat(parts, ignore_index=True)


def _image_name(dataset: str, micrograph: str) -> str:
    """Return a unique name that is not a number and contains no spaces."""
    return "m" + hashlib.sha256(f"{dataset}/{micrograph}".encode()).hexdigest()[:16]


def _join(folders: Sequence[Path], ratio_table: Path) -> pd.DataFrame:
    """Join the ratio table with the table of images, and add the column path."""
    tables = []
    for folder in folders:
        table = read_table(folder / TABLE)
        table["path"] = [str((folder / f"{name}.mrc").resolve()) for name in table["image"]]
        tables.append(table)
    keys = ["dataset", "micrograph"]
    return LabelTable.read(ratio_table).merge(pd.concat(tables), on=keys, validate="one_to_one")


def _points(row: Mapping[Any, Any]) -> Points:
    """Return the labelled centres (n, 2) of one micrograph, on whole pixels inside its image."""
    xy = np.floor(row["points"] - (row["pad_x"], row["pad_y"]) + 0.5)
    clipped: Points = xy.clip(0, (row["width"] - 1, row["height"] - 1))
    return clipped


def _hand_over(images: pd.DataFrame, folder: Path, part: str) -> None:
    """Put images into `folder/part` and the labelled centres of all of them into `part.txt`."""
    (folder / part).mkdir()
    for name, path in zip(images["image"], images["path"], strict=True):
        (folder / part / f"{name}.mrc").symlink_to(path)
    points = dict(zip(images["image"], images["points"], strict=True))
    labels = {name: Picks(xy) for name, xy in points.items() if len(xy)}
    write_picks(folder / f"{part}.txt", labels, fmt="topaz")


@contextmanager
def _followed(path: Path, steps: int) -> Iterator[None]:
    """Report the progress of a training that writes its curve to `path`, while the block runs.

    Topaz itself prints nothing between start and end.
    """
    ended = threading.Event()

    def follow() -> None:
        with Progress(steps, "topaz train") as progress:
            while not ended.wait(FOLLOWED):
                try:
                    curve = _read_curve(path)
                except (OSError, ValueError):  # not started, or a row is being written
                    continue
                done = curve[curve["split"] == "train"]
                if len(done) > progress.done:
                    told = {"loss": done["loss"].iloc[-1]}
                    score = curve["auprc"].dropna()
                    if len(score):
                        told["val_average_precision"] = score.iloc[-1]
                    progress.update(len(done) - progress.done, **told)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _read_curve(path: Path) -> pd.DataFrame:
    """Read columns epoch iter split loss ... auprc; only validation rows have the last one."""
    return pd.read_csv(path, sep="\t", na_values="-")


def _epochs(folder: Path, begin: float) -> tuple[pd.DataFrame, dict[int, Path]]:
    """Read the output of a training: the table of its epochs, and the network after each."""
    saved = {
        int(path.stem.rpartition("epoch")[2]): path for path in folder.glob("model_epoch*.sav")
    }
    try:
        curve = _read_curve(folder / CURVE)
        loss = curve[curve["split"] == "train"].groupby("epoch")["loss"].mean()
        precision = curve[curve["split"] == "test"].set_index("epoch")["auprc"]
        history = pd.DataFrame({"epoch": sorted(saved)})
        history["seconds"] = [saved[epoch].stat().st_mtime - begin for epoch in history["epoch"]]
        history["loss"] = history["epoch"].map(loss)
        history["val_average_precision"] = history["epoch"].map(precision).astype(float)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"topaz train: unexpected output ({error}). fewpick supports Topaz 0.3; see the log."
        ) from None
    if not saved:
        raise InputError("topaz train: did not write a network. See the log.")
    return history, saved
