"""Dual-Inception: an Inception stream for each flow component (Zhou, Mao and Xue 2019; FG, MEGC 2019)."""

import torch
from torch import Tensor, nn

from mer.errors import MerError


class Inception(nn.Module):
    """Four paths: 1x1 | 1x1 -> 3x3 | 1x1 -> 5x5 | max pool 3 -> 1x1, ReLU after each convolution.

    Args:
        in_channels: channels of the input.
        filters: filters of each convolution.

    Shape:
        (B, in_channels, H, W) -> (B, 4 * filters, H, W).
    """

    def __init__(self, *, in_channels: int, filters: int) -> None:
        super().__init__()
        self.path1 = nn.Conv2d(in_channels, filters, 1)
        self.reduce3 = nn.Conv2d(in_channels, filters, 1)
        self.path3 = nn.Conv2d(filters, filters, 3, padding=1)
        self.reduce5 = nn.Conv2d(in_channels, filters, 1)
        self.path5 = nn.Conv2d(filters, filters, 5, padding=2)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.path_pool = nn.Conv2d(in_channels, filters, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, 4 * filters, H, W) of maps (B, in_channels, H, W)."""
        paths = (
            self.path1(maps),
            self.path3(torch.relu_(self.reduce3(maps))),
            self.path5(torch.relu_(self.reduce5(maps))),
            self.path_pool(self.pool(maps)),
        )
        return torch.relu_(torch.cat(paths, dim=1))


class DualInception(nn.Module):
    """One stream for u, one for v, then FC 1024: 6,449,963 parameters at C = 3.

    A stream: component / 255 -> :class:`Inception` of 6 -> max pool 2 -> Inception of 16 -> max pool 2 ->
    7x7x64 = 3136. Concat 6272 -> FC 1024, ReLU -> FC C, without dropout.

    The authors' code reads the image file of each component with OpenCV, which gives a grey file three equal
    channels; so a stream sees its component three times.

    Args:
        in_channels: channels of the image, 2 (u, v) or 3 (u, v, strain). The strain is not read.
        num_classes: classes of the label map.
        copies: channels that a stream gets of its component: 3 as in the authors' code; 1 can do the same
            with 96 parameters less.

    Shape:
        images (B, in_channels, 28, 28), 0..255 -> logits (B, num_classes).

    Raises:
        MerError: images of another size, or without both flow components.
    """

    def __init__(self, *, in_channels: int, num_classes: int, copies: int = 3) -> None:
        super().__init__()
        if in_channels not in (2, 3):
            raise MerError(
                f"DualInception takes (u, v) or (u, v, strain), not {in_channels} channels: "
                "set encoding=apex_flow"
            )
        if copies < 1:
            raise MerError(f"network.copies={copies}: give 3, as in the authors' code, or 1")
        self.copies = copies
        self.stream_u, self.stream_v = (
            nn.Sequential(
                Inception(in_channels=copies, filters=6),
                nn.MaxPool2d(2),
                Inception(in_channels=4 * 6, filters=16),
                nn.MaxPool2d(2),
                nn.Flatten(),
            )
            for _ in range(2)
        )
        self.fc = nn.Linear(2 * 4 * 16 * 7 * 7, 1024)
        self.classifier = nn.Linear(1024, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, 28, 28)."""
        if images.shape[-2:] != (28, 28):
            raise MerError(
                f"DualInception takes images of 28x28, not {images.shape[-2]}x{images.shape[-1]}: "
                "set encoding.size=28"
            )
        u, v = (images[:, :2] / 255).chunk(2, dim=1)
        features = torch.cat(
            [
                self.stream_u(u.expand(-1, self.copies, -1, -1)),
                self.stream_v(v.expand(-1, self.copies, -1, -1)),
            ],
            dim=1,
        )
        logits: Tensor = self.classifier(torch.relu_(self.fc(features)))
        return logits
