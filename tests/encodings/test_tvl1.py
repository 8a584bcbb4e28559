from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.bench.flow import known_pairs
from mer.data.encoding_key import parameters
from mer.encodings import ApexFlow, apex_flow, tvl1
from mer.encodings.tvl1 import TVL1, tvl1_flow
from mer.errors import MerError
from tests.encodings.test_apex_flow import grid, moved_pair, texture

PRESETS = {"opencv": TVL1(), "ipol": TVL1.ipol()}
QUICK: dict[str, Any] = {"scales": 2, "warps": 2, "outer_iterations": 2}


def opencv_flow(first: Tensor, second: Tensor, params: TVL1) -> Tensor:
    return apex_flow.tvl1_flow(first, second, params=params, backend="opencv")


def endpoint_error(flow: Tensor, known: Tensor, *, border: int = 0) -> float:
    inside = slice(border, -border or None)
    return float((flow - known).norm(dim=1)[:, inside, inside].mean())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tensor, Tensor, Tensor]:
    """Onset, apex and known field of six drawn clips, with their noise, light, blinks and head motion."""
    root = tmp_path_factory.mktemp("drawn") / "tree"
    first, second, known = known_pairs(root=root, subjects=2, clips_per_class=1, size=80)
    return first, second, torch.from_numpy(known)


@pytest.fixture(scope="module")
def moved() -> tuple[Tensor, Tensor]:
    """Four pairs (4, 1, 48, 40) of different motions, the second one still."""
    moves = [(0.6, -0.4), (0.0, 0.0), (-0.5, 1.2), (4.0, 2.0)]
    pairs = [moved_pair(*move, height=48, width=40, seed=k) for k, move in enumerate(moves)]
    return torch.cat([first for first, _ in pairs]), torch.cat([second for _, second in pairs])


@pytest.mark.parametrize("height", [16, 31, 48, 80])
@pytest.mark.parametrize("depth", [torch.uint8, torch.float32])
def test_without_motion_the_flow_is_zero_to_the_last_bit(height: int, depth: torch.dtype) -> None:
    first, _ = moved_pair(0, 0, height=height, width=57)
    assert not tvl1_flow(first.to(depth), first.to(depth)).any()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("dx", "dy"), [(0.6, -0.4), (-0.3, 0.8), (3.2, -2.1)])
def test_flow_of_a_translation_is_the_translation(name: str, dx: float, dy: float) -> None:
    flow = tvl1_flow(*moved_pair(dx, dy), options=PRESETS[name])
    assert (flow.dtype, flow.shape, flow.is_contiguous()) == (torch.float32, (1, 2, 64, 64), True)
    error = (flow - torch.tensor([dx, dy])[:, None, None]).norm(dim=1)[:, 8:-8, 8:-8]
    # Where the flow changes by less than epsilon, a hundredth of a pixel, an iteration, it is left alone.
    assert error.mean() < 0.07
    assert error.max() < 0.15


def test_a_smooth_field_is_found() -> None:
    """A turn by one degree and a growth by two per cent about the centre, up to 1.4 pixels at the border."""
    x, y = grid(72, 60)
    turn, grow = 1 / 57.3, 0.02
    # second(z) = first(z - d(z)) with d(z) = A z, so first(x) is found at x + u, where u = d(x + u).
    a = torch.tensor([[grow, -turn], [turn, grow]]).double()
    d_x, d_y = (a[k, 0] * (x - 29.5) + a[k, 1] * (y - 35.5) for k in range(2))
    second = texture(x - d_x, y - d_y)
    b = torch.linalg.inv(torch.eye(2) - a.float()) - torch.eye(2)
    place = torch.stack([x - 29.5, y - 35.5]).float()
    known = torch.einsum("ij,jhw->ihw", b, place)[None]
    assert 0.9 < known.norm(dim=1).max() < 1.4
    flow = tvl1_flow(texture(x, y), second)
    assert endpoint_error(flow, known, border=6) < 0.07
    assert endpoint_error(torch.zeros_like(flow), known, border=6) > 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_on_drawn_faces_it_is_as_near_to_the_known_field_as_opencv(
    name: str, drawn: tuple[Tensor, Tensor, Tensor]
) -> None:
    first, second, known = drawn
    flow = tvl1_flow(first, second, options=PRESETS[name])
    reference = opencv_flow(first, second, PRESETS[name])
    ours, theirs = endpoint_error(flow, known), endpoint_error(reference, known)
    apart = (flow - reference).norm(dim=1)
    print(f"{name}: ours {ours:.4f}, OpenCV {theirs:.4f}, apart {apart.median():.4f} in the median")
    assert ours < 1.1 * theirs
    assert theirs < endpoint_error(torch.zeros_like(known), known)
    # OpenCV warps on a grid of 1/32 pixel.
    assert apart.median() < 1 / 32
    assert apart.mean() < 0.05


@pytest.mark.parametrize("name", PRESETS)
def test_a_pair_does_not_see_its_neighbours(name: str, moved: tuple[Tensor, Tensor]) -> None:
    options = replace(PRESETS[name], outer_iterations=3)
    flow = tvl1_flow(*moved, options=options)
    each = [tvl1_flow(*(images[k : k + 1] for images in moved), options=options) for k in range(4)]
    assert_close(flow, torch.cat(each), atol=1e-6, rtol=0)
    assert flow.flatten(1).any(1).tolist() == [True, False, True, True]


def test_chunks_and_repetitions_change_nothing(
    moved: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = tvl1_flow(*moved, options=TVL1(**QUICK))
    assert tvl1_flow(*moved, options=TVL1(**QUICK)).numpy().tobytes() == flow.numpy().tobytes()
    planes = 3 * 4 * tvl1.PLANES * 48 * 40
    for budget in (1, planes):  # one pair at a time; three, then one
        monkeypatch.setitem(tvl1.BUDGETS, "cpu", budget)
        assert_close(tvl1_flow(*moved, options=TVL1(**QUICK)), flow, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (33, 57), (90, 17), (16, 16), (15, 40), (5, 9)])
def test_any_size_is_solved_as_opencv_does(height: int, width: int) -> None:
    first, second = moved_pair(0.5, -0.3, height=height, width=width)
    flow = tvl1_flow(first, second)
    assert flow.shape == (1, 2, height, width)
    reference = opencv_flow(first, second, TVL1())
    # In the median: what a corner shows has moved out of the other image.
    assert (flow - reference).norm(dim=1).median() < 1 / 16
    assert (flow - torch.tensor([0.5, -0.3])[:, None, None]).norm(dim=1).median() < 0.2


def test_the_pyramid_ends_where_a_side_falls_below_sixteen() -> None:
    first, second = moved_pair(0.5, -0.3, height=28, width=40)
    # 28, 22, 18, 14: three levels, however many are allowed.
    assert torch.equal(
        tvl1_flow(first, second, options=TVL1(scales=3)), tvl1_flow(first, second, options=TVL1(scales=99))
    )
    assert not torch.equal(
        tvl1_flow(first, second, options=TVL1(scales=2)), tvl1_flow(first, second, options=TVL1(scales=3))
    )


def test_the_smallest_images_and_no_images() -> None:
    first, second = moved_pair(0.5, -0.3, height=2, width=3)
    assert tvl1_flow(first, second).isfinite().all()
    assert tvl1_flow(first[:0], second[:0]).shape == (0, 2, 2, 3)


def test_layout_and_type_of_the_input_do_not_matter(moved: tuple[Tensor, Tensor]) -> None:
    solve = partial(tvl1_flow, options=TVL1(**QUICK))
    flow, (first, second) = solve(*moved), moved
    turned = [images.transpose(2, 3).contiguous().transpose(2, 3) for images in moved]
    assert not turned[0].is_contiguous()
    assert torch.equal(solve(*turned), flow)
    clips = torch.stack([first, second], 1)
    assert torch.equal(solve(clips[:, 0], clips[:, 1]), flow)
    assert torch.equal(solve(first[:, 0], second[:, 0]), flow)
    floats = [images.float().requires_grad_() for images in moved]
    got = solve(*floats)
    assert torch.equal(got, flow)
    assert not got.requires_grad
    assert torch.equal(floats[0], first.float()), "the images are not changed"


def test_every_parameter_matters() -> None:
    first, second = moved_pair(0.6, -0.4, height=40, width=36)
    others: list[dict[str, Any]] = [
        {"tau": 0.1},
        {"lambda_": 0.05},
        {"theta": 0.2},
        {"scales": 1},
        {"warps": 1},
        {"epsilon": 0.2},
        {"inner_iterations": 2},
        {"outer_iterations": 1},
        {"scale_step": 0.5},
        {"median": 3},
        {"median": 1},
    ]
    flows = [tvl1_flow(first, second, options=TVL1(**(QUICK | other))) for other in ({}, *others)]
    assert len({flow.numpy().tobytes() for flow in flows}) == 12


@pytest.mark.parametrize(
    "options", [{}, {"tau": 0.2, "lambda_": 0.1, "theta": 0.25, "inner_iterations": 7, "median": 3}]
)
def test_the_iterations_are_opencvs_up_to_rounding(options: dict[str, Any]) -> None:
    """One level and one warp, which is at whole pixels: there OpenCV's grid of 1/32 pixel is exact too."""
    params = TVL1(scales=1, warps=1, epsilon=1e-4, **options)
    first, second = moved_pair(0.6, -0.4, height=50, width=37)
    flow, reference = tvl1_flow(first, second, options=params), opencv_flow(first, second, params)
    assert_close(flow, reference, atol=1e-5, rtol=0)
    assert flow.abs().max() > 0.3


def test_a_pair_stops_soon_after_opencv_would() -> None:
    """Within ``CHECKED`` iterations of the first that changes the flow by less than epsilon."""
    first, second = moved_pair(0.2, -0.1, height=40, width=48)
    few: dict[str, Any] = {"scales": 1, "warps": 1, "outer_iterations": 1}
    stops = opencv_flow(first, second, TVL1(epsilon=0.02, **few))
    counts = range(1, 31)
    flows = [opencv_flow(first, second, TVL1(epsilon=1e-9, inner_iterations=n, **few)) for n in counts]
    last = next(n for n, flow in zip(counts, flows, strict=True) if torch.equal(flow, stops))
    assert last % tvl1.CHECKED, "a stop between two looks"
    looked = -(-last // tvl1.CHECKED) * tvl1.CHECKED
    flow = tvl1_flow(first, second, options=TVL1(epsilon=0.02, **few))
    assert_close(flow, flows[looked - 1], atol=1e-5, rtol=0)
    assert (flow - stops).abs().max() > 1e-3


@pytest.mark.parametrize("side", [3, 5])
def test_the_median_is_opencvs(side: int) -> None:
    planes = torch.randn(2, 2, 9, 14, generator=torch.Generator().manual_seed(side)).round(decimals=1)
    expected = np.stack([[cv2.medianBlur(plane.numpy(), side) for plane in pair] for pair in planes])
    np.testing.assert_array_equal(tvl1._median(planes, side).numpy(), expected)


def test_wrong_images_and_options_are_errors() -> None:
    images = torch.zeros(2, 1, 8, 9)
    with pytest.raises(MerError, match=r"grey images .*, not \(2, 1, 8, 9\) and \(2, 1, 8, 8\)"):
        tvl1_flow(images, images[..., :-1])
    with pytest.raises(MerError, match=r"not \(1, 2, 8, 9\) and \(1, 2, 8, 9\)"):
        tvl1_flow(images.transpose(0, 1), images.transpose(0, 1))
    with pytest.raises(MerError, match="2 pixels or more along each side, not 9x1"):
        tvl1_flow(images[:, :, :1], images[:, :, :1])
    with pytest.raises(MerError, match=r"encoding\.tau=-1: give a positive number"):
        TVL1(tau=-1)


def test_the_encoding_takes_either_backend(moved: tuple[Tensor, Tensor]) -> None:
    clips, lengths = torch.stack(moved, 1), torch.full((4,), 2)
    opencv, torch_ = ApexFlow(backend="opencv", **QUICK), ApexFlow(backend="torch", **QUICK)
    assert torch.equal(ApexFlow(**QUICK)(clips, lengths), opencv(clips, lengths))
    flow = tvl1_flow(*moved, options=torch_.params)
    images = torch_(clips, lengths)
    assert torch.equal(images, apex_flow.flow_image(flow))
    assert not torch.equal(images, opencv(clips, lengths))
    assert not images[1].any()  # no rounding is stretched to 0..255
    assert images[0].any()


def test_the_key_of_an_encoded_set_holds_the_backend_in_effect() -> None:
    keys = [parameters(ApexFlow(backend=backend))["backend"] for backend in ("opencv", "torch", "auto")]
    assert keys == ["'opencv'", "'torch'", "'torch'" if torch.cuda.is_available() else "'opencv'"]
    with pytest.raises(MerError, match=r"encoding\.backend='cuda': choose one of opencv, torch, auto"):
        ApexFlow(backend="cuda")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_a_gpu_it_is_the_same_flow(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, known = drawn
    flow, on_gpu = tvl1_flow(first, second), tvl1_flow(first.cuda(), second.cuda())
    assert on_gpu.is_cuda
    assert (on_gpu.cpu() - flow).norm(dim=1).median() < 1e-3
    assert endpoint_error(on_gpu.cpu(), known) < 1.01 * endpoint_error(flow, known)
    assert torch.equal(on_gpu, tvl1_flow(first.cuda(), second.cuda()))
    still = first.cuda()
    assert not tvl1_flow(still, still).any()
