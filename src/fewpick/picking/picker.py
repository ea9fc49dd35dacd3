"""Pick micrograph files with a trained model, independently of the workflow."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fewpick.coordinates import Picks
from fewpick.data.masks import valid_area
from fewpick.data.preprocess import in_pixels, preprocess_micrograph
from fewpick.errors import InputError
from fewpick.evaluation.threshold_policy import dataset_threshold
from fewpick.geometry import (
    GRAIN,
    SAME_PIXEL_SIZE,
    UNSET,
    Frame,
    fitting_radius,
    input_size,
    particle_radius,
)
from fewpick.micrographs import read_micrograph
from fewpick.network.device import inference_dtype
from fewpick.network.inference import find_peaks, predict
from fewpick.network.model_file import load_model
from fewpick.network.weights import GENERAL, general_path
from fewpick.picking.candidates import find
from fewpick.sampling.training_set import Micrograph

logger = logging.getLogger(__name__)

# File next to a trained `model.safetensors` that also holds everything picking needs.
NAME = "picker.safetensors"
# Micrographs are rescaled if their particles differ by more than this factor from those trained on.
SAME_SIZE = 1.25


def describe_use(
    micrographs: Sequence[Micrograph],
    manifests: Mapping[str, pd.DataFrame],
    specs: Mapping[str, Mapping[str, Any]],
    *,
    threshold: Mapping[str, Any],
    picking: Mapping[str, Any],
    particle_px: float | None = None,
    normalise: str = "robust",
    lowpass_angstrom: float | None = None,
) -> dict[str, Any]:
    """Describe how to pick with a model as the workflow does, for `save_model`.

    Parameters
    ----------
    micrographs : micrographs that the model has picked
    manifests : data set -> its manifest
    specs : data set -> its particle size and border, as configured
    threshold : from `thresholds.final_threshold`
    picking : section `picking` of the configuration
    particle_px, normalise, lowpass_angstrom : how the micrographs were preprocessed, as configured

    Returns
    -------
    JSON-ready dictionary
        particle_px (particle diameter in px of the network's input) or target_size (edge of that
        input, px), the other being None; normalise, lowpass_angstrom, picking, threshold;
        particles (data set -> radius and border in px of the original micrograph, its longer side
        in px, its pixel size in angstrom or None, and `others`: the same for micrographs that
        differ from the first in these); radius_scale (radius of the discs trained on, in particle
        radii); and labels (their number).
    """
    labelled = [m for m in micrographs if m.split == "train" and len(m.points)]
    return {
        "target_size": None if particle_px else micrographs[0].image.shape[0],
        "particle_px": particle_px,
        "normalise": normalise,
        "lowpass_angstrom": lowpass_angstrom,
        "picking": dict(picking),
        "threshold": dict(threshold),
        "particles": {name: _particles(specs[name], manifests[name]) for name in manifests},
        "radius_scale": micrographs[0].disc / micrographs[0].radius,
        "labels": {
            "micrographs": len(labelled),
            "particles": sum(len(m.points) for m in labelled),
        },
    }


@dataclass(frozen=True)
class Particle:
    """Particle size of one data set, and the margin without picks.

    Attributes
    ----------
    radius, border : px of the original micrograph
    longest : px of its longer side
    pixel_size : angstrom per px; None if unknown
    others : the same for micrographs of the set that differ in longer side or pixel size
    """

    radius: float
    border: float
    longest: int
    pixel_size: float | None
    others: Sequence[Mapping[str, Any]] = ()

    def as_in(self, longest: int, pixel_size: float | None) -> Particle:
        """Return the particle size on micrographs with this longer side (px) and pixel size.

        If the data set has none like that, return the size on its first micrograph.
        """
        for kind in self.others:
            known = kind["pixel_size"]
            if known is None or pixel_size is None:
                same = known is pixel_size
            else:
                same = math.isclose(known, pixel_size, rel_tol=SAME_PIXEL_SIZE)
            if same and kind["longest"] == longest:
                return Particle(**kind)
        return self


@dataclass(frozen=True)
class PreparedMicrograph:
    """A micrograph preprocessed for the network.

    Attributes
    ----------
    image : (T, T) float16 array
    frame : Frame
    radius : particle radius, px of `image`
    area : y0, x0, y1, x1, half open, px of `image`: where picks are allowed
    pixel_size : angstrom per px of the original micrograph; None if unknown
    """

    image: NDArray[np.float16]
    frame: Frame
    radius: float
    area: tuple[int, int, int, int]
    pixel_size: float | None


class Picker:
    """A loaded model, ready to pick.

    Parameters
    ----------
    path : `picker.safetensors`, its folder, or `model.safetensors` next to it; `general` is the
        network that comes with the package, which needs a particle size
    device : where to run
    dataset : for a model of several data sets, the one whose particle size and score threshold
        to use
    radius, diameter_angstrom : particle radius in px of the original micrograph, or diameter in
        angstrom, if different from training
    border : margin without picks, px of the original micrograph, if different from training
    pixel_size : angstrom per px; None reads it from the micrographs' headers

    Raises
    ------
    InputError
        If the file is not a model, or does not describe how to pick with it.
    """

    def __init__(
        self,
        path: str | Path,
        device: torch.device,
        *,
        dataset: str | None = None,
        radius: float | None = None,
        diameter_angstrom: float | None = None,
        border: float | None = None,
        pixel_size: float | None = None,
    ) -> None:
        self.path = resolve(path)
        self.device = device
        held = load_model(self.path, device)
        self.network, self.hyperparameters, self.use = held.network, held.hyperparameters, held.use
        self.particle = _choose(self.path, self.use["particles"], dataset)
        if self.particle is None and radius is None and diameter_angstrom is None:
            raise InputError(
                f"{path}: has no particle size of its own. Pass --diameter (px of the "
                "micrographs) or --diameter-angstrom."
            )
        self.threshold = dataset_threshold(self.use["threshold"], dataset or "")
        # Radius of the discs trained on, in particle radii; older files lack it and used 0.5.
        self.radius_scale = float(self.use.get("radius_scale", 0.5))
        self._size = {"particle_radius": radius, "particle_diameter_angstrom": diameter_angstrom}
        self._border, self._pixel_size = border, pixel_size
        self._doubted = False

    @property
    def calibrated(self) -> bool:
        """Whether the threshold is estimated from the micrographs, see `without_labels`."""
        return self.particle is None and "calibration" in self.use

    def describe(self) -> str:
        """Return one line on what the model was trained on, as far as its file says."""
        if self.particle is None:
            return "the general network, trained on many proteins; see docs/general_model.md"
        arm = f"arm {self.use['arm']}, " if "arm" in self.use else ""
        names = ", ".join(self.use["particles"]) or "unnamed data"
        n = self.use.get("labels", {}).get("particles")
        labels = f" with {n:,} labelled particle{'s' * (n > 1)}" if n else ""
        return f"{self.path}: {arm}trained on {names}{labels}"

    def see(self, path: Path) -> PreparedMicrograph:
        """Read and preprocess one micrograph.

        Raises
        ------
        InputError
            If it cannot be read, or its particle size is unknown or implausible.
        """
        return self.prepare(path, *read_micrograph(path))

    def prepare(
        self, path: Path, pixels: NDArray[np.float32], header: float | None
    ) -> PreparedMicrograph:
        """Preprocess the pixels of one micrograph.

        Parameters
        ----------
        path : its path, for messages
        pixels : (ny, nx) float32 array
        header : pixel size in its header, angstrom per px; None if there is none

        Raises
        ------
        InputError
            If its particle size is unknown or implausible.
        """
        pixel_size = self._pixel_size or header
        ny, nx = pixels.shape
        particle = self.particle and self.particle.as_in(max(ny, nx), pixel_size)
        radius = self._radius(path, ny, nx, header)
        try:
            size = self._size_of(ny, nx, radius)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        image, frame, _, _ = preprocess_micrograph(
            pixels,
            size,
            path.name,
            normalise=self.use["normalise"],
            lowpass=in_pixels(self.use["lowpass_angstrom"], pixel_size, path.name),
        )
        border = self._border
        if border is None:
            border = particle.border * max(frame.ny, frame.nx) / particle.longest if particle else 0
        rows, columns = valid_area(frame, size, border)
        return PreparedMicrograph(
            image,
            frame,
            radius * frame.scale,
            (rows.start, columns.start, rows.stop, columns.stop),
            pixel_size,
        )

    def find(self, seen: PreparedMicrograph) -> Picks:
        """Return all candidates, best first, in px of the original micrograph."""
        if self.particle is None:
            return self._find_unpadded(seen)
        micrograph = Micrograph(
            dataset="",
            name="",
            split="unannotated",
            image=seen.image,
            mask=np.empty((0, 0), np.int8),
            radius=seen.radius,
            disc=0.0,
            area=seen.area,
            frame=seen.frame,
            windows=(),
            points=np.empty((0, 2)),
        )
        (found,) = find(self.network, [micrograph], self.device, **self.use["picking"])
        diameter = 2 * seen.radius / seen.frame.scale
        return Picks(seen.frame.to_original(found.xy), found.score, diameter)

    def _find_unpadded(self, seen: PreparedMicrograph) -> Picks:
        """Do the same as `find`, but remove the padding that makes the image square.

        The network's normalisation averages over the whole image, so padding would shift the
        scores. The general network's threshold is estimated from its scores and was calibrated
        without padding.
        """
        height, width = seen.frame.height, seen.frame.width
        image = seen.image[:height, :width].astype(np.float32)
        padding = [(0, -n % GRAIN) for n in image.shape]
        given = torch.from_numpy(np.pad(image, padding, mode="symmetric"))[None, None]
        given = given.to(self.device).contiguous(memory_format=torch.channels_last)
        settings = self.use["picking"]
        # Older files lack this setting.
        dtype = inference_dtype(settings.get("precision", "auto"), self.device)
        probability = predict(self.network, given, settings["views"], dtype)[0, 0, :height, :width]
        xy, score = find_peaks(
            probability.cpu().numpy(),
            seen.radius,
            seen.area,
            nms_radius=settings["nms_radius"],
        )
        return Picks(seen.frame.to_original(xy), score, 2 * seen.radius / seen.frame.scale)

    def _size_of(self, ny: int, nx: int, radius: float) -> int:
        """Return the edge of the network's input, px, that gives particles their training size.

        A network trained on images of one size has seen particles of about one size; a micrograph
        whose particles would be `SAME_SIZE` times larger or smaller is rescaled.
        """
        particle_px = self.use.get("particle_px")
        if particle_px is not None:
            return input_size(ny, nx, 2 * radius, particle_px)
        assert self.particle is not None
        size = int(self.use["target_size"])
        kinds = [self.particle, *(Particle(**kind) for kind in self.particle.others)]
        trained = [2 * kind.radius * size / kind.longest for kind in kinds]
        here = 2 * radius * size / max(ny, nx)
        if any(1 / SAME_SIZE <= here / width <= SAME_SIZE for width in trained):
            return size
        return input_size(ny, nx, 2 * radius, trained[0])

    def _radius(self, path: Path, ny: int, nx: int, header: float | None) -> float:
        """Return the particle radius in px of the original micrograph.

        Uses the size that the caller gave; else the training size in angstrom, if both pixel sizes
        are known; else it assumes the same field of view as in training.
        """
        size = {key: value for key, value in self._size.items() if value is not None}
        known = False
        if not size:
            assert self.particle is not None
            trained = self.particle.as_in(max(ny, nx), self._pixel_size or header)
            if trained.pixel_size and (self._pixel_size or header):
                size = {"particle_diameter_angstrom": 2 * trained.radius * trained.pixel_size}
                known = trained.pixel_size == header
            else:
                size = {"particle_radius": trained.radius * max(ny, nx) / trained.longest}
        by_header = "particle_diameter_angstrom" in size and not self._pixel_size
        if by_header and header == UNSET and not known and not self._doubted:
            self._doubted = True
            logger.warning(
                "%s: the header says exactly 1 angstrom per pixel, which programs write when they "
                "do not know the pixel size. If it is not 1, pass --pixel-size.",
                path,
            )
        try:
            return fitting_radius(size, ny, nx, pixel_size=self._pixel_size, header=header)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def is_model(path: str | Path) -> bool:
    """Return whether a path is a model, that is its file, its folder or `general`."""
    known = str(path) == GENERAL or Path(path).suffix == ".safetensors"
    return known or (Path(path) / NAME).is_file()


def resolve(path: str | Path) -> Path:
    """Return the model file that describes how to pick: the one given, or the one next to it.

    `general` is the network that comes with the package; `./general` is a file or folder of that
    name.

    Raises
    ------
    InputError
        If there is no such file.
    """
    if str(path) == GENERAL:
        return general_path()
    path = Path(path)
    for candidate in (path / NAME, path.with_name(NAME)) if path.name != NAME else (path,):
        if candidate.is_file():
            return candidate
    if path.is_file() and load_model(path).use:  # renamed or copied elsewhere
        return path
    raise InputError(
        f"{path}: not a model to pick with. Pass {NAME} from a folder in results/models; the "
        "workflow writes it after picking."
    )


def kept(picks: Picks, threshold: float) -> Picks:
    """Return the picks with a score of at least `threshold`."""
    assert picks.score is not None
    chosen = picks.score >= threshold
    return Picks(picks.xy[chosen], picks.score[chosen], picks.diameter)


def _choose(path: Path, particles: Mapping[str, Any], dataset: str | None) -> Particle | None:
    if not particles and dataset is None:
        return None  # the general network has no particle size of its own
    if dataset is None and len(particles) == 1:
        (dataset,) = particles
    if dataset is None or dataset not in particles:
        raise InputError(
            f"{path}: trained on the data sets {', '.join(particles)}. Pass --dataset to say "
            "which one these micrographs resemble."
        )
    return Particle(**particles[dataset])


def _particles(spec: Mapping[str, Any], manifest: pd.DataFrame) -> dict[str, Any]:
    """Return the particle size on the first micrograph, and any that differ from it (`others`)."""
    kinds: list[dict[str, Any]] = []
    for row in manifest.to_dict("records"):
        pixel_size = None if pd.isna(row["pixel_size"]) else float(row["pixel_size"])
        kind = {
            "radius": particle_radius(spec, pixel_size),
            "border": float(spec.get("border") or 0),
            "longest": int(max(row["ny"], row["nx"])),
            "pixel_size": pixel_size,
        }
        if kind not in kinds:
            kinds.append(kind)
    return {**kinds[0], "others": kinds[1:]}
