"""Find the peaks of a batch of probability maps on their own device.

Gives the same picks as `inference.find_peaks`, the reference implementation: smoothing, local
maxima, sub-pixel positions and suppression, written as torch operations that synchronise with the
device once per batch instead of once per step. On a GPU, maps are not copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fewpick.network.inference import CROWDING, FLOOR, SMOOTHING, FloatArray

# Standard deviations at which scipy.ndimage.gaussian_filter truncates its kernel.
_TRUNCATE = 4.0


@torch.no_grad()
def find_peaks_batch(
    probability: Tensor,
    radii: Sequence[float],
    areas: Sequence[Sequence[int]],
    *,
    nms_radius: float = 1.0,
) -> list[tuple[FloatArray, FloatArray]]:
    """Find the peaks of several probability maps on the device that holds them.

    Parameters
    ----------
    probability : (n, h, w) float tensor, on any device
    radii : particle radius of each map, px
    areas : y0, x0, y1, x1 of each map, half open; peaks elsewhere are dropped
    nms_radius : non-maximum suppression radius, in particle radii

    Returns
    -------
    list of (xy, score), one per map
        xy is an (n, 2) float64 array of x (column), y (row), px; score is (n,) float64,
        descending. Positions agree with `inference.find_peaks` to 1e-3 px.
    """
    peaks = [
        _candidates(plane.float(), radius, area)
        for plane, radius, area in zip(probability, radii, areas, strict=True)
    ]
    kept = [
        _suppress(xy, nms_radius * radius) for (xy, _), radius in zip(peaks, radii, strict=True)
    ]
    return [
        (xy[keep].cpu().numpy(), score[keep].cpu().numpy())
        for (xy, score), keep in zip(peaks, kept, strict=True)
    ]


def _candidates(plane: Tensor, radius: float, area: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the local maxima of one smoothed map, best first: (n, 2) x, y and (n,) score."""
    smooth = gaussian_filter(plane, SMOOTHING * radius)
    highest = torch.nn.functional.max_pool2d(smooth[None, None], 3, stride=1, padding=1)[0, 0]
    y0, x0, y1, x1 = area
    inside = torch.zeros_like(smooth, dtype=torch.bool)
    inside[y0:y1, x0:x1] = True
    # Zeros outside do not change the maximum, and define it for an empty area.
    floor = FLOOR * torch.where(inside, smooth, 0.0).max()
    rows, columns = torch.nonzero((smooth == highest) & (smooth > floor) & inside, as_tuple=True)
    score = smooth[rows, columns].double()
    limit = max(math.ceil(CROWDING * (y1 - y0) * (x1 - x0) / (math.pi * radius**2)), 1)
    best = torch.sort(score, descending=True, stable=True).indices[:limit]
    rows, columns, score = rows[best], columns[best], score[best]
    xy = torch.stack([_refine(smooth.T, columns, rows), _refine(smooth, rows, columns)], dim=1)
    return xy, score


def gaussian_filter(plane: Tensor, sigma: float) -> Tensor:
    """Smooth an (h, w) float32 tensor as `scipy.ndimage.gaussian_filter` does.

    Like scipy, it sums in float64 and rounds after each axis; otherwise plateaus, and with them
    local maxima, would differ.
    """
    reach = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 / (sigma * sigma) * offsets**2)
    kernel = (kernel / kernel.sum()).to(plane.device)
    for axis in (0, 1):
        n = plane.shape[axis]
        # The edge is mirrored, the edge pixel included: d c b a | a b c d | d c b a
        places = torch.arange(-reach, n + reach, device=plane.device) % (2 * n)
        padded = plane.index_select(axis, torch.where(places < n, places, 2 * n - 1 - places))
        lines = padded.double() if axis else padded.double().T
        plane = (lines.unfold(1, 2 * reach + 1, 1) @ kernel).float()
        plane = plane if axis else plane.T
    return plane.contiguous()


def _refine(values: Tensor, index: Tensor, other: Tensor) -> Tensor:
    """Refine maxima along the first axis, to the vertex of the parabola through three points."""
    n = values.shape[0]
    before = values[(index - 1).clamp_min(0), other].double()
    after = values[(index + 1).clamp_max(n - 1), other].double()
    bend = before - 2 * values[index, other].double() + after
    usable = (bend < 0) & (index > 0) & (index < n - 1)
    shift = torch.where(usable, 0.5 * (before - after) / torch.where(usable, bend, -1), 0)
    return index + shift.clamp(-0.5, 0.5)


def _suppress(xy: Tensor, distance: float) -> Tensor:
    """Return a mask of the points (given best first) with no better kept point within `distance`.

    Greedy suppression in rounds: a point without an undecided better neighbour is kept and removes
    its neighbours. Each round decides at least the best undecided point, usually most of them.
    """
    n = len(xy)
    kept = torch.zeros(n, dtype=torch.bool, device=xy.device)
    if n == 0:
        return kept
    near = torch.cdist(xy, xy, compute_mode="donot_use_mm_for_euclid_dist") <= distance
    # rivals[i, j]: point j is better than i and within `distance` of it.
    rivals = near.tril(-1)
    undecided = torch.ones_like(kept)
    while bool(undecided.any()):
        winners = undecided & ~(rivals & undecided).any(dim=1)
        kept |= winners
        undecided &= ~winners & ~(rivals & winners).any(dim=1)
    return kept
