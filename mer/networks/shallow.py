"""ShallowNet: a network of our own for flow images of 28x28, two convolutions wide where STSTNet has one."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mer.errors import MerError

Inputs = Literal["scaled", "standardized", "raw"]
MEAN, DEVIATION = 127.5, 64.0  # 0..255 becomes about -2..2


class ShallowNet(nn.Module):
    """Convolutions with batch norm, and between them the pools of STSTNet.

    conv 5x5/1 -> batch norm -> ReLU -> max pool 3x3/3 (28 -> 10) -> conv 3x3/1 -> batch norm -> ReLU
    -> average pool 2x2/2 (10 -> 5) -> dropout -> linear. With one width the second convolution is left out;
    each width after the second adds a convolution 3x3/1 on the map of 5x5.

    Args:
        in_channels: channels of the image; 3 for (u, v, strain).
        num_classes: classes of the label map.
        widths: filters of each convolution, one to four of them.
        inputs: ``scaled``: (x - 127.5) / 64; ``standardized``: each channel of each image to mean 0 and
            deviation 1, by itself; ``raw``: as they are.
        dropout: probability of zeroing an activation before the linear layer.

    Shape:
        images (B, in_channels, 28, 28), values 0..255 -> logits (B, num_classes).

    Raises:
        MerError: an option that cannot be.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (32, 64),
        inputs: Inputs = "scaled",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if inputs not in get_args(Inputs):
            raise MerError(f"network.inputs={inputs!r}: choose {', '.join(get_args(Inputs))}")
        if not 1 <= len(widths) <= 4 or min(widths) < 1:
            raise MerError(f"network.widths={list(widths)}: give the filters of one to four convolutions")
        self.inputs = inputs
        first, *rest = widths
        layers = [*_block(in_channels, first, 5), nn.MaxPool2d(3, stride=3, padding=1)]
        before = first
        for number, width in enumerate(rest):
            layers += _block(before, width, 3)
            before = width
            if number == 0:
                layers.append(nn.AvgPool2d(2, stride=2))
        if not rest:
            layers.append(nn.AvgPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before * 5 * 5, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, 28, 28)."""
        if images.shape[-2:] != (28, 28):
            raise MerError(
                f"ShallowNet takes images of 28x28, not {images.shape[-2]}x{images.shape[-1]}: "
                "set encoding.size=28"
            )
        logits: Tensor = self.fc(self.dropout(self.features(self._seen(images)).flatten(1)))
        return logits

    def _seen(self, images: Tensor) -> Tensor:
        if self.inputs == "raw":
            return images
        if self.inputs == "scaled":
            return (images - MEAN) / DEVIATION
        variance, mean = torch.var_mean(images, dim=(-2, -1), keepdim=True, correction=0)
        return (images - mean) / (variance + 1.0).sqrt()  # a flat channel, one grey value in 255, stays small


def _block(in_channels: int, filters: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, filters, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
