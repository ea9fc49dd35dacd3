"""Scale a micrograph to a normalised square.

The edge of the square is the same for all micrographs, or such that particles are equally wide.

The steps: replace hot and dead pixels; resample to the target size in Fourier space, which keeps
all frequencies that the target can represent and avoids aliasing; optionally remove frequencies
above a limit; centre the grey values and divide them by their spread (median and MAD, or mean and
standard deviation of the larger part of a two-part mixture).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft

from fewpick.data.mixture import mixture_location_and_scale
from fewpick.errors import InputError
from fewpick.geometry import Frame, frame_for, input_size, padded_length, particle_radius
from fewpick.micrographs import read_header, read_micrograph
from fewpick.micrographs.grey_values import SIGMA_PER_MAD, location_and_mad
from fewpick.prefetch import in_order
from fewpick.stacks import table_path, write_stack, write_table

# Pixels further from the median than this many MAD (6.7 standard deviations) are defects: a
# Gaussian 4096 x 4096 image is expected to contain less than one.
HOT_PIXEL_MAD = 10.0
# Normalised grey values are clipped here, in standard deviations.
CLIP = 6.0

TABLE_COLUMNS = [
    *("micrograph", "index", "ny", "nx", "scale", "pad_x", "pad_y", "height", "width"),
    *("pixel_size", "median", "mad"),
]

_SAMPLE_SIZE = 1 << 18  # pixels; enough for the median and MAD to about 0.2 %
_BLOCK_PIXELS = 1 << 18  # pixels processed at once; 1 MB stays in the cache
_DEFECTS_AT_ONCE = 1 << 14  # defect pixels whose surroundings are gathered at once
# Width of the soft edge of the low-pass filter, as a fraction of its limit.
_LOWPASS_EDGE = 0.2
_MIN_SIZE = 16  # px, a micrograph smaller than this is a mistake

Reader = Callable[[Path], tuple[NDArray[np.float32], float | None]]
Image = NDArray[np.float32]


class Preprocessed(NamedTuple):
    """A preprocessed micrograph: `intensity = image * 1.4826 * mad + median`.

    image : (T, T) float16, median 0 and standard deviation about 1, padding 0
    frame : Frame, the map between the micrograph and `image`
    median, mad : float, grey values of the micrograph after resampling
    """

    image: NDArray[np.float16]
    frame: Frame
    median: float
    mad: float


def preprocess_micrograph(
    image: NDArray[np.generic],
    target_size: int,
    name: str = "micrograph",
    *,
    normalise: str = "robust",
    lowpass: float | None = None,
) -> Preprocessed:
    """Resample one micrograph to `target_size` pixels and normalise it.

    Parameters
    ----------
    image : (ny, nx) array of real numbers; not modified
    target_size : edge of the square, px
    name : file name for error messages
    normalise : `robust` (median and MAD) or `gmm` (mean and standard deviation of the larger part
        of a mixture of two Gaussians, which a carbon edge does not bias; see `mixture`)
    lowpass : resolution limit, original pixels; None keeps all that the target can represent

    Raises
    ------
    InputError : not a 2-d image, smaller than 16 pixels, NaN or infinite pixels, or constant
    """
    if image.ndim != 2 or min(image.shape) < _MIN_SIZE:
        raise InputError(
            f"{name}: shape {image.shape} is not a micrograph of at least {_MIN_SIZE} x "
            f"{_MIN_SIZE} pixels. Remove the file, or give summed (2-d) micrographs."
        )
    ny, nx = image.shape
    frame = frame_for(ny, nx, target_size)
    padded_nx, resampled_nx = padded_length(nx, max(ny, nx), target_size)
    padded_ny, resampled_ny = padded_length(ny, max(ny, nx), target_size)

    # Fourier resampling is separable: first along x, in blocks of rows that stay in the cache,
    # then along y on the reduced image. A full transform of the micrograph is never computed.
    centre, spread = location_and_mad(_subsample(image))
    narrow = np.empty((ny, resampled_nx), np.float32)
    step = max(1, _BLOCK_PIXELS // nx)
    for start in range(0, ny, step):
        block = _without_defects(image, start, min(start + step, ny), centre, spread, name)
        if padded_nx != nx:
            block = np.pad(block, ((0, 0), (0, padded_nx - nx)), mode="symmetric")
        narrow[start : start + step] = fourier_resample(block, resampled_nx, axis=1)
    if padded_ny != ny:
        narrow = np.pad(narrow, ((0, padded_ny - ny), (0, 0)), mode="symmetric")
    resampled = fourier_resample(narrow, resampled_ny, axis=0)[: frame.height, : frame.width]
    if lowpass is not None:
        resampled = low_pass(resampled, lowpass * frame.scale)

    median, mad = location_and_mad(resampled, rounding=1e-5 * spread)
    if mad == 0:
        raise InputError(
            f"{name}: the image is constant (value {centre:g}), so there is nothing to pick. "
            "Remove the file."
        )
    if normalise == "gmm":
        median, sigma = mixture_location_and_scale(resampled)
        mad = sigma / SIGMA_PER_MAD
    square = np.zeros((target_size, target_size), np.float16)
    resampled = (resampled - np.float32(median)) * np.float32(1 / (SIGMA_PER_MAD * mad))
    square[: frame.height, : frame.width] = resampled.clip(-CLIP, CLIP)
    return Preprocessed(square, frame, centre + median, mad)


def preprocess_shard(
    micrographs: pd.DataFrame,
    output: str | Path,
    target_size: int | Sequence[int],
    reader: Reader = read_micrograph,
    threads: int = 1,
    *,
    normalise: str = "robust",
    lowpass_angstrom: float | None = None,
) -> pd.DataFrame:
    """Preprocess the micrographs of one shard into a float16 stack and its geometry table.

    Parameters
    ----------
    micrographs : micrograph, path, pixel_size (angstrom, NaN when unknown), in the order wanted
    output : the stack, `.mrcs`; the table goes beside it as `.tsv`
    target_size : edge of the squares, px, one for all or one for each; the stack is as wide as the
        widest, and the others are padded with zeros
    reader : path -> (ny, nx) array, pixel size (not used)
    threads : micrographs processed at once; memory grows with it, but not with the shard
    normalise, lowpass_angstrom : as in `preprocess_micrograph`, but in angstrom

    Returns
    -------
    table with the columns micrograph index ny nx scale pad_x pad_y height width pixel_size
    median mad

    Raises
    ------
    InputError : as `preprocess_micrograph`, and for a low-pass without pixel size
    """
    rows: list[dict[str, object]] = []
    voxel_sizes: list[float] = []

    pixel_sizes = dict(zip(micrographs["path"], micrographs["pixel_size"], strict=True))
    sizes = [target_size] * len(micrographs) if isinstance(target_size, int) else target_size
    size_of = dict(zip(micrographs["path"], sizes, strict=True))
    edge = max(sizes, default=0)

    def preprocess(path: str) -> Preprocessed:
        lowpass = in_pixels(lowpass_angstrom, pixel_sizes[path], path)
        image = reader(Path(path))[0]
        size = size_of[path]
        return preprocess_micrograph(image, size, path, normalise=normalise, lowpass=lowpass)

    def images() -> Iterator[NDArray[np.float16]]:
        results = in_order(preprocess, micrographs["path"].tolist(), threads)
        for index, (name, pixel_size, result) in enumerate(
            zip(micrographs["micrograph"], micrographs["pixel_size"], results, strict=True)
        ):
            rows.append(
                {"micrograph": name, "index": index}
                | result.frame.to_row()
                | {"pixel_size": pixel_size, "median": result.median, "mad": result.mad}
            )
            voxel_sizes.append(float(pixel_size or np.nan) / result.frame.scale)
            beside = edge - len(result.image)
            yield np.pad(result.image, (0, beside)) if beside else result.image

    write_stack(
        output,
        images(),
        shape=(len(micrographs), edge, edge),
        dtype=np.float16,
        voxel_sizes=voxel_sizes,
    )
    table = pd.DataFrame(rows, columns=TABLE_COLUMNS)
    write_table(table, table_path(output))
    return table


def input_sizes(
    micrographs: pd.DataFrame,
    target_size: int,
    particle_px: float | None,
    spec: Mapping[str, Any],
) -> list[int]:
    """Return the edge of the square of each micrograph, px.

    Parameters
    ----------
    micrographs : path, pixel_size
    target_size : the edge of all, unless `particle_px` is given
    particle_px : width that particles should have, target pixels
    spec : the data set's block of the configuration, with its particle size

    Raises
    ------
    InputError : a micrograph that cannot be scaled to that width
    """
    if particle_px is None:
        return [target_size] * len(micrographs)
    sizes = []
    for path, pixel_size in zip(micrographs["path"], micrographs["pixel_size"], strict=True):
        header = read_header(path)
        try:
            diameter = 2 * particle_radius(spec, pixel_size)
            sizes.append(input_size(header.ny, header.nx, diameter, particle_px))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return sizes


def fourier_resample(image: Image, size: int, axis: int) -> Image:
    """Resample one axis to `size` samples by dropping high frequencies, or adding zero ones.

    Sample 0 stays where it is. Frequencies below the Nyquist limit of both lengths are kept. The
    image is continued by its mirror image (a cosine transform) instead of periodically, where an
    ice gradient would be a jump that rings along the edges.
    """
    n = image.shape[axis]
    if size == n:
        return image
    cosines = fft.dct(image, type=2, axis=axis)
    kept = np.arange(min(n, size))
    # The mirror lies half a sample before sample 0; the phase moves the origin to sample 0, so that
    # the cosines can be summed as the spectrum of 2 * size samples.
    phase = np.exp(1j * np.pi * kept / (2 * n)) * (size / n)
    if axis == 1:
        spectrum = cosines[:, : len(kept)] * phase.astype(np.complex64)
    else:
        spectrum = cosines[: len(kept)] * phase.astype(np.complex64)[:, None]
    resampled: Image = fft.irfft(spectrum, n=2 * size, axis=axis, overwrite_x=True)
    return resampled[:, :size] if axis == 1 else resampled[:size]


def low_pass(image: Image, resolution: float) -> Image:
    """Remove detail finer than `resolution` pixels, with a soft edge that does not ring.

    The filter falls as a half cosine from 1 to 0 around the limit, where it is 1/2. As in
    `fourier_resample`, the image is continued by its mirror image.
    """
    ny, nx = image.shape
    # Cycles per pixel of the cosines.
    y, x = (np.arange(n, dtype=np.float32) / (2 * n) for n in (ny, nx))
    frequency = np.hypot(y[:, None], x) * np.float32(resolution)
    phase = ((frequency - 1) / _LOWPASS_EDGE).clip(-0.5, 0.5) * np.pi
    cosines = fft.dctn(image, type=2) * ((1 - np.sin(phase)) / 2).astype(np.float32)
    passed: Image = fft.idctn(cosines, type=2)
    return passed


def in_pixels(angstrom: float | None, pixel_size: float | None, name: str) -> float | None:
    """Return a resolution in pixels of the micrograph; None if `angstrom` is None.

    Raises
    ------
    InputError : the pixel size is not known (None, NaN or 0)
    """
    if angstrom is None:
        return None
    if pixel_size is None or not pixel_size > 0:
        raise InputError(
            f"{name}: preprocess.lowpass_angstrom needs a pixel size, but the file has none. Set "
            "the data set's pixel_size (angstrom per pixel), or remove lowpass_angstrom."
        )
    return angstrom / float(pixel_size)


def _subsample(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return about `_SAMPLE_SIZE` pixels; odd steps avoid the periods of detector tiles."""
    step = int(np.sqrt(image.size / _SAMPLE_SIZE)) | 1
    return image[::step, ::step]


def _without_defects(
    image: NDArray[np.generic], start: int, stop: int, centre: float, spread: float, name: str
) -> Image:
    """Return rows of the image minus `centre`, with hot and dead pixels replaced.

    A defect pixel gets the median of the intact pixels in the 5 x 5 around it. If there are none,
    it lies inside something large (a gold bead, a blank strip), and its value is clipped.
    """
    block = np.subtract(image[start:stop], np.float32(centre), dtype=np.float32)
    limit = np.float32(HOT_PIXEL_MAD * spread)
    # Extremes are cheap, and most rows have no defect. NaN compares false, so it is suspect.
    suspect = np.flatnonzero(~((block.max(axis=1) <= limit) & (block.min(axis=1) >= -limit)))
    if len(suspect) == 0:
        return block
    y, x = np.nonzero(~(np.abs(block[suspect]) <= limit))
    y = suspect[y]
    if not np.isfinite(block[y, x]).all():
        raise InputError(
            f"{name}: has NaN or infinite pixels; it may be damaged. Process the micrograph "
            "again, or remove the file."
        )
    dy, dx = np.mgrid[-2:3, -2:3].reshape(2, 25)
    for chunk in range(0, len(y), _DEFECTS_AT_ONCE):
        rows, columns = y[chunk : chunk + _DEFECTS_AT_ONCE], x[chunk : chunk + _DEFECTS_AT_ONCE]
        # From the image, because the block lacks neighbours at its ends and is being changed.
        around = image[
            (rows[:, None] + (dy + start)).clip(0, image.shape[0] - 1),
            (columns[:, None] + dx).clip(0, image.shape[1] - 1),
        ]
        around = np.subtract(around, np.float32(centre), dtype=np.float32)
        sound = np.abs(around) <= limit
        count = sound.sum(axis=1)
        around = np.sort(np.where(sound, around, np.inf), axis=1)
        local = around[np.arange(len(rows)), np.maximum(count - 1, 0) // 2]
        clipped = block[rows, columns].clip(-limit, limit)
        block[rows, columns] = np.where(count > 0, local, clipped)
    return block
