"""Views: one transform moves image, label and mask together."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewpick.data.masks import draw_discs
from fewpick.sampling.crops import _crop_together, crop, unlabelled_views
from fewpick.sampling.views import View, random_view, strong

SIZE = 96


def field(n_points: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth image with a bump at each point, and the mask of discs there."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(8, 152, (n_points, 2))
    rows, columns = np.mgrid[:160, :160]
    image = np.zeros((160, 160), np.float32)
    for x, y in points:
        image += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
    mask = np.zeros((160, 160), np.int8)
    draw_discs(mask, points, 4.0, 1)
    return image, mask, points


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_image_label_and_mask_move_together(seed: int) -> None:
    image, mask, points = field(12, seed)
    rng = np.random.default_rng(seed)
    view = random_view(rng.uniform(40, 120), rng.uniform(40, 120), rng)
    seen = crop([image], [view], SIZE, fill="reflect")[0, 0]
    label = crop([mask], [view], SIZE, fill=-1)[0, 0]
    steps = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    y, x = view.map(*torch.meshgrid(steps, steps, indexing="ij"))
    inside = (y > 0) & (y < 159) & (x > 0) & (x < 159)
    # Independent of the resampling code: recompute both from the formula of the bumps.
    exact, distance = torch.zeros(SIZE, SIZE), torch.full((SIZE, SIZE), math.inf)
    for px, py in points:
        squared = (x - px) ** 2 + (y - py) ** 2
        exact += torch.exp(-squared / 32).float()
        distance = torch.minimum(distance, squared.sqrt())
    assert (seen - exact)[inside].abs().max() < 0.05
    assert (label[inside & (distance < 3.2)] == 1).all()
    assert (label[inside & (distance > 4.8)] == 0).all()
    assert (label[(y < -0.51) | (y > 159.51) | (x < -0.51) | (x > 159.51)] == -1).all()


def test_quarter_turns_move_pixels_without_interpolation() -> None:
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            view = View(31.5, 31.5, turns * math.pi / 2, mirrored)
            seen = crop([image], [view], 64, fill="reflect")[0, 0].numpy()
            candidates = [np.rot90(base, k) for k in range(4) for base in (image, image[:, ::-1])]
            assert min(np.abs(seen - c).max() for c in candidates) < 1e-4


@pytest.mark.parametrize("fill", ["reflect", -1])
def test_views_cut_together_are_those_cut_one_by_one(fill: str | int) -> None:
    image, mask, _ = field(12, 0)
    rng = np.random.default_rng(0)
    # Up to beyond the corners, where the fill is seen.
    views = [random_view(rng.uniform(0, 160), rng.uniform(0, 160), rng) for _ in range(24)]
    arrays = [image if fill == "reflect" else mask] * len(views)
    one_by_one = crop(arrays, views, SIZE, fill=fill)
    together = _crop_together(arrays, views, SIZE, fill, torch.device("cpu"))
    if fill == "reflect":
        torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-3)
    else:
        # Half-way between two pixels, rounding decides which one is the nearest.
        assert (together != one_by_one).float().mean() < 1e-3
        assert set(together.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_a_view_off_by_one_row_is_noticed() -> None:
    image, mask, _ = field(12, 3)
    right, wrong = View(80.5, 80.5), View(81.5, 80.5)
    label = crop([mask], [right], SIZE, fill=-1)
    assert torch.equal(label, crop([mask], [right], SIZE, fill=-1))
    assert not torch.equal(label, crop([mask], [wrong], SIZE, fill=-1))
    assert not torch.allclose(
        crop([image], [right], SIZE, fill="reflect"), crop([image], [wrong], SIZE, fill="reflect")
    )


def test_strong_view_moves_nothing() -> None:
    """A bump stays where it is under every photometric change."""
    image, _, _ = field(1, 5)
    clean = torch.from_numpy(image)[None, None].repeat(16, 1, 1, 1)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    altered = strong(clean * 20, rng, generator)
    assert altered.shape == clean.shape
    peaks = (altered - altered.mean((-1, -2), keepdim=True))[:, 0]
    bump = clean[0, 0] - clean[0, 0].mean()
    spectrum = torch.fft.rfft2(peaks) * torch.fft.rfft2(bump).conj()
    correlation = torch.fft.irfft2(spectrum, s=bump.shape)
    for one in correlation:
        row, column = divmod(int(one.argmax()), one.shape[1])
        assert min(row, 160 - row) <= 1
        assert min(column, 160 - column) <= 1


def test_strong_view_is_reproducible_and_leaves_its_input_alone() -> None:
    x = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    before = x.clone()
    once = strong(x, np.random.default_rng(2), torch.Generator().manual_seed(3))
    again = strong(x, np.random.default_rng(2), torch.Generator().manual_seed(3))
    assert torch.equal(once, again)
    assert torch.equal(x, before)
    assert not torch.equal(once, x)


@pytest.mark.parametrize("area", [(0, 0, 160, 160), (10, 20, 150, 140), (40, 40, 60, 60)])
def test_unlabelled_views_stay_within_the_area(area: tuple[int, int, int, int]) -> None:
    class Sheet:
        dataset = "a"

    sheet = Sheet()
    sheet.area = area  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    _, views = unlabelled_views([sheet], 50, 64, rng)  # type: ignore[list-item]
    y0, x0, y1, x1 = area
    for view in views:
        slack = 0 if y1 - y0 >= 64 else 64
        assert y0 - slack <= view.y - 32.5 + 1
        assert view.y + 32.5 - 1 <= y1 + slack
        assert x0 - slack <= view.x - 32.5 + 1
        assert view.x + 32.5 - 1 <= x1 + slack
