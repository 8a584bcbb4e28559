"""The grid of blocks that a descriptor is computed in, and sums over its blocks."""

import torch
from torch import Tensor

from mer.errors import MerError


def block_bounds(size: int, blocks: int, *, overlap: int = 0) -> list[tuple[int, int]]:
    """First pixel of each block of a side, and the one after its last; the last block takes the remainder.

    Args:
        size: pixels of the side.
        blocks: blocks along it.
        overlap: pixels by which a block reaches into each of its neighbours.

    Raises:
        MerError: fewer pixels than blocks, or no block.

    >>> block_bounds(17, 3)
    [(0, 5), (5, 10), (10, 17)]
    """
    if not 1 <= blocks <= size:
        raise MerError(
            f"encoding.blocks={blocks} on a side of {size} pixels: give 1 block or more, and no more than "
            "there are pixels"
        )
    step = size // blocks
    ends = [*(step * k for k in range(1, blocks)), size]
    starts = [0, *ends[:-1]]
    return [
        (max(start - overlap, 0), min(end + overlap, size)) for start, end in zip(starts, ends, strict=True)
    ]


def block_numbers(size: int, blocks: int) -> Tensor:
    """(size,) int64: the number of the block that each pixel of a side lies in."""
    lengths = torch.tensor([end - start for start, end in block_bounds(size, blocks)])
    return torch.arange(blocks).repeat_interleave(lengths)


def block_sums(planes: Tensor, blocks: int, *, overlap: int = 0) -> Tensor:
    """Sum over each block of a grid of ``blocks`` x ``blocks``: one matrix product a side.

    Args:
        planes: (B, H, W) float.
        blocks, overlap: see ``block_bounds``.

    Returns:
        (B, blocks, blocks) of the same type, on the same device.
    """
    along_y, along_x = (
        _membership(size, blocks, overlap).to(planes.device, planes.dtype) for size in planes.shape[1:]
    )
    return along_y @ planes @ along_x.T


def _membership(size: int, blocks: int, overlap: int) -> Tensor:
    """(blocks, size): 1 where a pixel lies in a block."""
    starts, ends = torch.tensor(block_bounds(size, blocks, overlap=overlap)).T
    pixel = torch.arange(size)
    inside: Tensor = (pixel >= starts[:, None]) & (pixel < ends[:, None])
    return inside
