"""The temporal network of the time-contrasted network: MPNet (Tokmakov, Alahari and Schmid 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.width import scaled
from mer.networks.xavier import fill_xavier


class TemporalNetwork(nn.Module):
    """Which pixels of an optical flow field move by themselves: an encoder, a decoder, skips between them.

    Four encoder units, conv 7x7 64 and conv 3x3 128, 256, 512, each followed by a max pool 2; two decoder
    units, which double the resolution, append the encoder's map of that resolution (before its pool) and
    convolve by 3x3 to 256 and 128; a 1x1 convolution to one logit. Batch norm and ReLU after every
    convolution but the last; it learns the scale of the flow, about .1 pixel in micro-expressions.
    4,506,497 parameters at width 1.

    What is read where. The time-contrast paper: an encoder-decoder on the flow field of a pair, output of a
    quarter of each side, a likelihood of motion a pixel. MPNet, of which we had no text, from memory: 7x7
    filters first, then 3x3, doubling channels with max pools between; a decoder that doubles the resolution
    and takes the encoder's maps beside its own. Ours: the number of units (a flow field of 64x64 has no more
    to halve), channels, batch norm, nearest neighbours for doubling. Ours too: u and v as they are, not
    magnitude and angle, since the angle of a still pixel is noise.

    Args:
        width: factor on every number of channels, see :func:`mer.networks.width.scaled`.

    Shape:
        flow (N, 2, H, W) in pixels, H and W multiples of 16 -> logits (N, 1, H / 4, W / 4).

    Raises:
        MerError: the width is not above 0; flow of another size.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.encoder = nn.ModuleList(
            (
                _unit(2, first, kernel=7),
                _unit(first, second),
                _unit(second, third),
                _unit(third, fourth),
            )
        )
        self.decoder = nn.ModuleList((_unit(2 * fourth, third), _unit(2 * third, second)))
        self.head = nn.Conv2d(second, 1, 1)
        fill_xavier(self)

    def forward(self, flow: Tensor) -> Tensor:
        """Logits (N, 1, H / 4, W / 4) of flow (N, 2, H, W)."""
        height, width = flow.shape[-2:]
        if not height or not width or height % 16 or width % 16:
            raise MerError(
                f"the temporal network takes flow whose sides are multiples of 16, not {height}x{width}: "
                "set encoding.size=64"
            )
        maps, skips = flow, []
        for unit in self.encoder:
            skips.append(unit(maps))
            maps = F.max_pool2d(skips[-1], 2)
        for unit in self.decoder:
            maps = unit(torch.cat([F.interpolate(maps, scale_factor=2.0), skips.pop()], dim=1))
        logits: Tensor = self.head(maps)
        return logits


def _unit(before: int, after: int, kernel: int = 3) -> nn.Sequential:
    # Without bias: the batch norm would take it away again.
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
