import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from mer.descriptors.bi_woof import Reading, bi_woof
from mer.descriptors.hoof import hoof
from mer.errors import MerError

READINGS: list[Reading] = ["released", "described"]


def random_field(height: int = 23, width: int = 31, *, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(batch, 2, height, width, generator=generator)
    return flow, torch.rand(batch, 1, height, width, generator=generator)


def block_by_block(flow: NDArray[np.float64], strain: NDArray[np.float64]) -> NDArray[np.float64]:
    """The release's rule for one field (2, H, W), in plain loops: 5x5 blocks, 8 directions."""
    degrees = np.degrees(np.arctan2(flow[1], flow[0]))
    magnitude = np.hypot(flow[0], flow[1])
    height, width = magnitude.shape
    tall, wide = height // 5, width // 5
    parts = []
    for row in range(5):
        for column in range(5):
            # Each block reaches a pixel into the next; the last takes what is left.
            top, left = max(row * tall - 1, 0), max(column * wide - 1, 0)
            bottom = height if row == 4 else (row + 1) * tall + 1
            right = width if column == 4 else (column + 1) * wide + 1
            here = np.s_[top:bottom, left:right]
            counts, _ = np.histogram(degrees[here], 8, (-180, 180), weights=magnitude[here])
            parts.append(counts / counts.sum() * strain[here].sum())
    features = np.concatenate(parts)
    length: np.float64 = np.sqrt((features**2).sum())
    unit: NDArray[np.float64] = features / length
    return unit


@pytest.mark.parametrize(("height", "width"), [(23, 31), (25, 20), (28, 28)])
def test_the_released_reading_is_its_rule_block_by_block(height: int, width: int) -> None:
    flow, strain = random_field(height, width)
    got = bi_woof(flow, strain)
    assert got.shape == (2, 200)
    assert got.dtype == torch.float32
    for k in range(2):
        expected = block_by_block(flow[k].double().numpy(), strain[k, 0].double().numpy())
        np.testing.assert_allclose(got[k], expected, rtol=1e-5)


def test_a_hand_worked_field() -> None:
    # Left half: 2 px to the right, strain .5. Right half: 3 px down, strain .25.
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0, :, :2], flow[:, 1, :, 2:] = 2, 3
    strain = torch.full((1, 1, 4, 4), 0.5)
    strain[..., 2:] = 0.25
    got = bi_woof(flow, strain, blocks=2, reading="described").view(2, 2, 8)
    expected = torch.zeros(2, 2, 8)
    expected[:, 0, 4] = 4 * 2 * 0.5  # four pixels a block
    expected[:, 1, 6] = 4 * 3 * 0.25
    assert_close(got, expected)
    # Released: with the row and column that they share, blocks are 3x3: 6 pixels of their own half, 3 of
    # the other.
    own, other = 6 * 2 / (6 * 2 + 3 * 3), 3 * 3 / (6 * 2 + 3 * 3)
    left = torch.zeros(8)
    left[4], left[6] = own, other
    left *= 6 * 0.5 + 3 * 0.25
    own, other = 6 * 3 / (6 * 3 + 3 * 2), 3 * 2 / (6 * 3 + 3 * 2)
    right = torch.zeros(8)
    right[6], right[4] = own, other
    right *= 6 * 0.25 + 3 * 0.5
    both = torch.cat([left, right, left, right])
    assert_close(bi_woof(flow, strain, blocks=2)[0], both / both.norm())


# Weights.


def test_equal_strain_leaves_the_histograms_of_magnitude() -> None:
    flow, _ = random_field()
    described = bi_woof(flow, torch.full((2, 1, 23, 31), 0.1), reading="described").view(2, 5, 5, 8)
    shares = described / described.sum(-1, keepdim=True)
    assert_close(shares, hoof(flow, bins=8, blocks=5, angles="all"))


def test_each_blocks_strain_weighs_its_histogram() -> None:
    flow, strain = random_field(25, 25)
    stronger = strain.clone()
    stronger[:, :, 5:10, 10:15] *= 3
    before, after = (bi_woof(flow, each, reading="described").view(2, 5, 5, 8) for each in (strain, stronger))
    expected = before.clone()
    expected[:, 1, 2] *= 3
    assert_close(after, expected)


def test_a_block_without_strain_counts_nothing() -> None:
    flow, strain = random_field(25, 25)
    strain[:, :, :6, :6] = 0  # the pixel that the released block shares too
    for reading in READINGS:
        features = bi_woof(flow, strain, reading=reading).view(2, 5, 5, 8)
        assert not features[:, 0, 0].any()
        assert (features[:, 0, 2].sum(-1) > 0).all()


def test_the_scale_of_the_motion() -> None:
    flow, strain = random_field()
    assert_close(bi_woof(flow * 2, strain * 2), bi_woof(flow, strain))
    described = bi_woof(flow, strain, reading="described")
    assert_close(bi_woof(flow * 2, strain * 2, reading="described"), described * 4)
    assert_close(bi_woof(flow, strain).norm(dim=1), torch.ones(2))


def test_turning_the_motion_by_a_bin_turns_the_bins() -> None:
    flow, strain = random_field()
    cos = 0.5**0.5
    turned = torch.stack([cos * (flow[:, 0] - flow[:, 1]), cos * (flow[:, 0] + flow[:, 1])], dim=1)
    for reading in READINGS:
        before, after = (bi_woof(each, strain, reading=reading).view(2, 25, 8) for each in (flow, turned))
        assert_close(after, before.roll(1, 2))


def test_no_motion_is_zero() -> None:
    for reading in READINGS:
        features = bi_woof(torch.zeros(1, 2, 20, 20), torch.zeros(1, 1, 20, 20), reading=reading)
        assert torch.equal(features, torch.zeros(1, 200))


# Errors.


def test_bad_input_is_refused() -> None:
    flow, strain = random_field()
    with pytest.raises(MerError, match=r"strain has shape \(2, 23, 31\)"):
        bi_woof(flow, strain[:, 0])
    with pytest.raises(MerError, match=r"encoding\.reading='printed': choose one of released, described"):
        bi_woof(flow, strain, reading="printed")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"encoding\.blocks=24 on a side of 23 pixels"):
        bi_woof(flow, strain, blocks=24)
