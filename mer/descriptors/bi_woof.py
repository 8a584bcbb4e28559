"""Bi-weighted oriented optical flow: directions, weighted by magnitude and by strain (Liong et al. 2018)."""

from typing import Literal, get_args

import torch
from torch import Tensor

from mer.descriptors.blocks import block_bounds, block_sums
from mer.descriptors.hoof import normalised, oriented_sums
from mer.errors import MerError

Reading = Literal["released", "described"]


def bi_woof(
    flow: Tensor, strain: Tensor, *, bins: int = 8, blocks: int = 5, reading: Reading = "released"
) -> Tensor:
    """Histogram of directions in each block, times the strain in it (Liong et al. 2018, "Less is more").

    ``described``: a pixel counts with its magnitude; a block's histogram is multiplied by the mean strain
    in the block; nothing is normalised. Doubling the flow, and with it the strain, gives four times as much.

    ``released``: the authors' MATLAB code. A block's histogram sums to 1 before it is multiplied by the sum
    of the strain in the block, and the whole descriptor has length 1. Each block reaches one pixel into its
    neighbours. Scaling the flow changes nothing. It differs in two points: a block without motion gives
    0 (there 0/0); and we count all directions (there the last bin's upper edge is missing, so with the
    usual ``weightedhistc`` motion between 135 and 180 degrees is lost).

    Args:
        flow: (B, 2, H, W) float, (u, v) in pixels, u to the right and v down.
        strain: (B, 1, H, W) float, at least 0: the magnitude of optical strain.
        bins: directions over the full circle, see ``orientation_bins`` (8 in the release).
        blocks: along each side (5 in the release).
        reading: ``released`` or ``described``.

    Returns:
        (B, blocks * blocks * bins) float32, blocks row by row from the top, each with its bins. Without
        motion it is 0.

    Raises:
        MerError: a shape or an option is out of range.
    """
    if reading not in get_args(Reading):
        raise MerError(f"encoding.reading={reading!r}: choose one of {', '.join(get_args(Reading))}")
    if strain.shape != (flow.shape[0], 1, *flow.shape[2:]):
        raise MerError(
            f"strain has shape {tuple(strain.shape)} beside a flow of {tuple(flow.shape)}: give "
            "(batch, 1, height, width) of the same batch and size"
        )
    overlap = int(reading == "released")
    histograms = oriented_sums(flow, bins=bins, blocks=blocks, overlap=overlap)
    strains = block_sums(strain[:, 0].double(), blocks, overlap=overlap)
    if reading == "released":
        features = (normalised(histograms) * strains[..., None]).flatten(1)
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        return (features / torch.where(length > 0, length, 1)).float()
    heights, widths = (
        torch.tensor([end - start for start, end in block_bounds(size, blocks)], device=flow.device)
        for size in flow.shape[2:]
    )
    means = strains / (heights[:, None] * widths)
    return (histograms * means[..., None]).flatten(1).float()
