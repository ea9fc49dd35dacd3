"""Pick many micrographs: batches and threads change the speed, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fewpick.geometry import frame_for
from fewpick.network.unet import UNet
from fewpick.picking.candidates import candidate_table, find
from fewpick.sampling.training_set import Micrograph

EDGES = (64, 64, 64, 96, 64, 96, 96)


def sheet(number: int, edge: int) -> Micrograph:
    rng = np.random.default_rng(number)
    return Micrograph(
        dataset="some",
        name=f"{number}.mrc",
        split="test",
        image=rng.normal(size=(edge, edge)).astype(np.float16),
        mask=rng.integers(-1, 2, (edge, edge)).astype(np.int8),
        radius=4.0,
        disc=2.0,
        area=(2, 3, edge - 4, edge),
        frame=frame_for(2 * edge, 2 * edge, edge),
        windows=(),
        points=np.empty((0, 2)),
    )


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_batches_give_the_picks_of_the_reference(batch_size: int) -> None:
    torch.manual_seed(0)
    network = UNet(widths=[8, 8]).eval()
    sheets = [sheet(number, edge) for number, edge in enumerate(EDGES)]
    device = torch.device("cpu")
    one = list(find(network, sheets, device, views=2, nms_radius=1.0))
    many = list(find(network, sheets, device, views=2, nms_radius=1.0, batch_size=batch_size))
    assert [f.micrograph.name for f in many] == [f"{n}.mrc" for n in range(len(EDGES))]
    expected, table = candidate_table(one), candidate_table(many)
    assert len(table) > len(EDGES)
    assert (table["micrograph"] == expected["micrograph"]).all()
    np.testing.assert_allclose(table[["x", "y"]], expected[["x", "y"]], atol=2e-3)
    np.testing.assert_allclose(table["score"], expected["score"], atol=1e-5)
    for alone, together in zip(one, many, strict=True):
        assert together.pixels["n_particle"].sum() == (alone.micrograph.mask == 1).sum()


def test_a_broken_image_is_told_where_it_comes() -> None:
    sheets = [sheet(0, 64), sheet(1, 64)]
    found = find(UNet(widths=[8, 8]), [*sheets, None], torch.device("cpu"), views=1, nms_radius=1)  # type: ignore[list-item]
    with pytest.raises(AttributeError):
        list(found)
