"""Local features of a frame against the context of the next (time contrast, eq 1-3; Ding et al. 2018)."""

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.xavier import fill_xavier


class ContextContrast(nn.Module):
    """Three differences between the maps of successive frames, fused with the first frame's map.

    M_l, local: conv 3x3. M_c, context: conv 3x3, dilated. For the frames t and t + 1 of each step

        eq 1: M_l(t) - M_c(t + 1),   eq 2: M_l(t) - M_l(t + 1),   eq 3: M_l(t + 1) - M_c(t),

    stacked. Fusing (the paper does not say how): a 1x1 convolution over the map of t and the three
    differences, then tanh, as the maps themselves had it (ours). Both filters run once a frame, not once a
    pair.

    Args:
        channels: of the maps, of M_l, of M_c and of the fused maps.
        dilation: of M_c (4, ours). On maps of n x n, taps beyond n - 1 only meet the padding.

    Shape:
        maps (B, T, channels, h, w) -> (B, T - 1, channels, h, w), -1..1.

    Raises:
        MerError: the dilation is below 1.
    """

    def __init__(self, *, channels: int, dilation: int = 4) -> None:
        super().__init__()
        if dilation < 1:
            raise MerError(f"network.context_dilation={dilation}: give 1 or more")
        self.local = nn.Conv2d(channels, channels, 3, padding=1)
        self.context = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.fuse = nn.Conv2d(4 * channels, channels, 1)
        fill_xavier(self)

    def forward(self, maps: Tensor) -> Tensor:
        """Fused maps (B, T - 1, channels, h, w) of maps (B, T, channels, h, w)."""
        first = maps[:, :-1].unsqueeze(2)
        stacked = torch.cat([first, self.differences(maps)], dim=2)
        fused: Tensor = self.fuse(stacked.flatten(2, 3).flatten(0, 1)).tanh()
        return fused.reshape(first.shape[:2] + maps.shape[2:])

    def differences(self, maps: Tensor) -> Tensor:
        """Equations 1, 2, 3 in this order, (B, T - 1, 3, channels, h, w), of maps (B, T, channels, h, w)."""
        frames = maps.flatten(0, 1)
        local = self.local(frames).reshape(maps.shape)
        context = self.context(frames).reshape(maps.shape)
        now, following = local[:, :-1], local[:, 1:]
        return torch.stack([now - context[:, 1:], now - following, following - context[:, :-1]], dim=2)
