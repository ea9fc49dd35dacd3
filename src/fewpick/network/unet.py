"""The network: a compact U-Net whose first layer already downsamples the image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(min(8, channels), channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    raise ValueError(f"norm is {kind!r}; use 'group' or 'batch'")


class _Block(nn.Sequential):
    """Two 3 x 3 convolutions, each followed by normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            _norm(norm, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            _norm(norm, outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with a strided stem and a sub-pixel head.

    The stem is one convolution of stride `stem_stride`; the encoder and decoder then work at that
    reduced resolution, where a convolution costs `stem_stride`^2 times less, and the head's
    `stem_stride`^2 channels are rearranged to full resolution (pixel shuffle, Shi et al. 2016).
    `stem_stride=1, widths=(64, 128, 256, 512, 1024), norm="batch"` is the classic network with
    31 M parameters.

    Parameters
    ----------
    stem_stride : int
        Downsampling factor of the first layer: 1, 2 or 4.
    widths : sequence of int
        Channels per level; each further level halves the resolution.
    norm : str
        "group" (independent of the rest of the batch) or "batch".
    dropout : float
        Channel dropout probability before the head.
    """

    def __init__(
        self,
        stem_stride: int = 4,
        widths: Sequence[int] = (32, 64, 128, 192),
        norm: str = "group",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.multiple = stem_stride * 2 ** (len(widths) - 1)
        first = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(
                1,
                first,
                kernel_size=2 * stem_stride + 1 if stem_stride > 1 else 3,
                stride=stem_stride,
                padding=stem_stride if stem_stride > 1 else 1,
                bias=False,
            ),
            _norm(norm, first),
            nn.ReLU(inplace=True),
        )
        self.encoder = nn.ModuleList(
            _Block(widths[max(i - 1, 0)], width, norm) for i, width in enumerate(widths)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 2, stride=2)
            for narrow, wide in itertools.pairwise(widths)
        )
        self.decoder = nn.ModuleList(_Block(2 * width, width, norm) for width in widths[:-1])
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Sequential(nn.Conv2d(first, stem_stride**2, 1), nn.PixelShuffle(stem_stride))
        # Particles are rare: start from "background everywhere" with a 10 % particle probability.
        nn.init.constant_(self.head[0].bias, -2.2)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Map (b, 1, h, w) float images to logits; h and w must be multiples of `multiple`."""
        x = self.stem(images)
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for level in range(len(skips) - 1, -1, -1):
            x = self.decoder[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(self.dropout(x))
