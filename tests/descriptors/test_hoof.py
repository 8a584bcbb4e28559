import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.descriptors.hoof import Angles, hoof, orientation_bins, oriented_sums
from mer.errors import MerError


def uniform_flow(u: float, v: float, side: int = 6) -> Tensor:
    return torch.tensor([u, v]).view(1, 2, 1, 1).expand(1, 2, side, side)


def random_flow(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Directions.


@pytest.mark.parametrize(
    ("u", "v", "place"),
    [
        # Parts of 45 degrees: motion to the left opens the first and ends the last. v is down.
        (-2.0, -0.5, 0),
        (-0.5, -2.0, 1),
        (0.5, -2.0, 2),
        (2.0, -0.5, 3),
        (2.0, 0.5, 4),
        (0.5, 2.0, 5),
        (-0.5, 2.0, 6),
        (-2.0, 0.5, 7),
        # On an edge: the bin that begins there.
        (-1.0, -1.0, 1),
        (0.0, -3.0, 2),
        (1.0, -1.0, 3),
        (1.0, 0.0, 4),
        (1.0, -0.0, 4),
        (1.0, 1.0, 5),
        (0.0, 3.0, 6),
        (-1.0, 1.0, 7),
        (-1.0, 0.0, 7),
        (-1.0, -0.0, 7),
    ],
)
def test_a_uniform_flow_fills_one_bin(u: float, v: float, place: int) -> None:
    expected = torch.zeros(1, 1, 1, 8)
    expected[..., place] = 1
    assert torch.equal(hoof(uniform_flow(u, v), bins=8, angles="all"), expected)


@pytest.mark.parametrize("bins", [3, 4, 5, 8, 12, 30])
def test_every_edge_opens_its_bin(bins: int) -> None:
    edges = torch.arange(bins, dtype=torch.float64) / bins * 2 * math.pi - math.pi
    flow = torch.stack([edges.cos(), edges.sin()])[None, :, None]
    assert orientation_bins(flow, bins=bins).flatten().tolist()[1:] == list(range(1, bins))


@pytest.mark.parametrize(
    ("u", "v", "place"),
    [(0.1, -2.0, 0), (-0.1, -2.0, 0), (2.0, -0.5, 1), (2.0, 0.5, 2), (-2.0, 0.5, 2), (0.1, 2.0, 3)],
)
def test_the_primary_angle_runs_from_up_to_down_on_both_sides(u: float, v: float, place: int) -> None:
    assert hoof(uniform_flow(u, v), bins=4)[0, 0, 0].nonzero().flatten().tolist() == [place]


def test_pixels_count_with_their_magnitude() -> None:
    flow = torch.zeros(1, 2, 1, 3)
    flow[0, :, 0, 0] = torch.tensor([3.0, 4.0])  # magnitude 5, 53 degrees
    flow[0, :, 0, 1] = torch.tensor([-1.0, -0.5])
    flow[0, :, 0, 2] = torch.tensor([0.0, 0.0])
    sums = oriented_sums(flow, bins=8, blocks=1)[0, 0, 0]
    assert_close(sums[[5, 0]], torch.tensor([5.0, math.sqrt(1.25)]).double())
    assert sums.count_nonzero() == 2


@pytest.mark.parametrize("bins", [4, 8, 9])
def test_histograms_are_numpys(bins: int) -> None:
    flow = random_flow(3, 2, 17, 13)
    u, v = flow.double().numpy().transpose(1, 0, 2, 3)
    degrees, primary = np.degrees(np.arctan2(v, u)), np.degrees(np.arctan2(v, abs(u)))
    options: list[tuple[Angles, np.typing.NDArray[np.float64], int]] = [
        ("all", degrees, 180),
        ("primary", primary, 90),
    ]
    for angles, values, end in options:
        got = hoof(flow, bins=bins, angles=angles)
        for k in range(3):
            expected, _ = np.histogram(values[k], bins, (-end, end), weights=np.hypot(u[k], v[k]))
            assert_close(got[k, 0, 0], torch.from_numpy(expected / expected.sum()).float())


# Invariances.


@pytest.mark.parametrize("angles", ["all", "primary"])
def test_the_flows_scale_does_not_matter(angles: Angles) -> None:
    flow = random_flow(2, 2, 20, 21)
    assert_close(hoof(flow * 1000, blocks=3, angles=angles), hoof(flow, blocks=3, angles=angles))


def test_a_mirrored_frame_has_the_same_histogram_of_primary_angles() -> None:
    flow = random_flow(2, 2, 12, 9)
    mirrored = flow.flip(3) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    assert_close(hoof(mirrored), hoof(flow))
    assert not torch.allclose(hoof(mirrored, angles="all"), hoof(flow, angles="all"))


def test_blocks_add_up_to_the_whole() -> None:
    flow = random_flow(2, 2, 23, 31)
    parts = oriented_sums(flow, bins=8, blocks=5)
    assert parts.shape == (2, 5, 5, 8)
    assert_close(parts.sum((1, 2), keepdim=True), oriented_sums(flow, bins=8, blocks=1))


def test_a_block_without_motion_is_empty_and_the_others_sum_to_one() -> None:
    flow = random_flow(1, 2, 10, 10)
    flow[:, :, :5, 5:] = 0
    assert_close(hoof(flow, blocks=2).sum(-1), torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]))


# Errors.


def test_bad_input_is_refused() -> None:
    with pytest.raises(MerError, match="flow is float"):
        hoof(torch.zeros(1, 3, 5, 5))
    with pytest.raises(MerError, match="flow is float"):
        hoof(torch.zeros(1, 2, 5, 5, dtype=torch.uint8))
    with pytest.raises(MerError, match=r"encoding\.bins=0"):
        hoof(torch.zeros(1, 2, 5, 5), bins=0)
    with pytest.raises(MerError, match=r"encoding\.angles='half': choose one of primary, all"):
        hoof(torch.zeros(1, 2, 5, 5), angles="half")  # type: ignore[arg-type]
