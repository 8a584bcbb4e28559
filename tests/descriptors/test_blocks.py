import numpy as np
import pytest
import torch

from mer.descriptors.blocks import block_bounds, block_numbers, block_sums
from mer.errors import MerError


@pytest.mark.parametrize(("size", "count"), [(1, 1), (5, 5), (23, 5), (31, 4), (100, 1)])
def test_blocks_cut_a_side_without_a_gap(size: int, count: int) -> None:
    bounds = block_bounds(size, count)
    assert [pixel for start, end in bounds for pixel in range(start, end)] == list(range(size))
    assert len(bounds) == count
    assert len({end - start for start, end in bounds[:-1]}) <= 1
    numbers = [k for k, (start, end) in enumerate(bounds) for _ in range(start, end)]
    assert block_numbers(size, count).tolist() == numbers


def test_blocks_reach_into_their_neighbours_but_not_out_of_the_frame() -> None:
    assert block_bounds(17, 3, overlap=1) == [(0, 6), (4, 11), (9, 17)]


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_sums_are_those_of_slices(overlap: int) -> None:
    planes = np.random.default_rng(0).normal(size=(2, 23, 31))
    got = block_sums(torch.from_numpy(planes), 4, overlap=overlap).numpy()
    for i, (top, bottom) in enumerate(block_bounds(23, 4, overlap=overlap)):
        for j, (left, right) in enumerate(block_bounds(31, 4, overlap=overlap)):
            np.testing.assert_allclose(
                got[:, i, j], planes[:, top:bottom, left:right].sum((1, 2)), rtol=1e-12
            )


@pytest.mark.parametrize(("size", "count"), [(4, 5), (4, 0)])
def test_more_blocks_than_pixels_are_refused(size: int, count: int) -> None:
    with pytest.raises(MerError, match=rf"encoding.blocks={count} on a side of 4 pixels"):
        block_bounds(size, count)
