from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.feature import local_binary_pattern
from torch import Tensor

from mer.descriptors import lbp
from mer.descriptors.lbp import lbp_codes, lbp_histograms
from mer.errors import MerError


def random_frames(*shape: int, levels: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, levels, shape, np.uint8)


def scikit_images(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Codes of all pixels; those on the border see 0 outside."""
    codes = local_binary_pattern(frame, 8, 1, "default")  # type: ignore[no-untyped-call]
    return np.asarray(codes, np.int64)


def codes_of(frames: NDArray[np.uint8]) -> NDArray[Any]:
    return np.asarray(lbp_codes(torch.from_numpy(frames)).numpy())


def code_of_middle(patch: NDArray[np.uint8]) -> int:
    """Bilinear interpolation on the circle, to 50 digits: equality within rounding counts as not darker."""
    f = Decimal("0.5").sqrt()
    value = [[Decimal(int(grey)) for grey in row] for row in patch]
    code = 0
    for bit, (down, right) in enumerate(
        [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    ):
        by_row, by_column = (f, f) if down and right else (abs(down), abs(right))
        near, far = value[1], value[1 + down]
        at_near = near[1] * (1 - by_column) + near[1 + right] * by_column
        at_far = far[1] * (1 - by_column) + far[1 + right] * by_column
        neighbour = at_near * (1 - by_row) + at_far * by_row
        code |= (neighbour - value[1][1] >= Decimal("-1e-30")) << bit
    return code


# Codes.


def test_codes_are_scikit_images() -> None:
    frames = random_frames(4, 23, 31)
    expected = [scikit_images(frame)[1:-1, 1:-1] for frame in frames]
    assert np.array_equal(codes_of(frames), np.stack(expected))


def test_codes_are_exact_where_neighbours_equal_the_centre() -> None:
    # With four greys a fifth of all corners are ties or close to one.
    frames = random_frames(1, 12, 14, levels=4)
    codes = codes_of(frames)[0]
    for y in range(10):
        for x in range(12):
            assert codes[y, x] == code_of_middle(frames[0, y : y + 3, x : x + 3])


def test_the_closest_calls_between_greys_are_exact() -> None:
    # A corner d interpolated with the sides a and b beside it is not darker than c where
    # (a - c + b - c) + (sqrt(2) + 1)(d - c) >= 0. The fractions 169/70 and 70/29 come closest to the root.
    calls = {  # a, b, c, d
        (154, 155, 70, 0): True,  # 169 - 2.41421 x 70 = .005
        (100, 101, 185, 255): False,
        (64, 64, 29, 0): False,  # 70 - 2.41421 x 29 = -.012
        (165, 165, 200, 229): True,
    }
    for (a, b, c, d), bright in calls.items():
        patch = np.full((3, 3), c, np.uint8)
        patch[0, 1], patch[1, 2], patch[0, 2] = a, b, d
        code = codes_of(patch[None])[0, 0, 0]
        assert bool(code & 2) is bright
        assert code == code_of_middle(patch)


@pytest.mark.parametrize("grey", [0, 1, 127, 255])
def test_a_flat_frame_has_all_bits_set(grey: int) -> None:
    assert (codes_of(np.full((2, 5, 6), grey, np.uint8)) == 255).all()


def test_bits_run_counter_clockwise_from_the_right() -> None:
    # A darker side darkens the interpolated corners beside it too.
    for bit, (y, x) in {0: (1, 2), 2: (0, 1), 4: (1, 0), 6: (2, 1)}.items():
        patch = np.full((1, 3, 3), 10, np.uint8)
        patch[0, y, x] = 9
        cleared = (1 << bit) | (1 << (bit + 1) % 8) | (1 << (bit - 1) % 8)
        assert codes_of(patch)[0, 0, 0] == 255 - cleared


def test_brightness_and_contrast_leave_codes_as_they_are() -> None:
    frames = random_frames(2, 9, 9, levels=100)
    assert np.array_equal(codes_of(frames), codes_of(frames * 2 + 30))


def test_frames_may_have_a_channel_and_be_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.from_numpy(random_frames(5, 8, 9))
    boxes = torch.tensor([[0, 0, 9, 8], [3, 2, 4, 4]])
    codes, histograms = lbp_codes(frames), lbp_histograms(lbp_codes(frames), boxes)
    monkeypatch.setattr(lbp, "CHUNK", 2 * 8 * 9)
    assert torch.equal(lbp_codes(frames[:, None]), codes)
    assert torch.equal(lbp_histograms(codes, boxes), histograms)
    monkeypatch.setattr(lbp, "CHUNK", 1)
    assert torch.equal(lbp_codes(frames), codes)
    assert torch.equal(lbp_histograms(codes, boxes), histograms)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 5, 5),
        torch.zeros(2, 3, 5, 5, dtype=torch.uint8),
        torch.zeros(5, 5, dtype=torch.uint8),
        torch.zeros(2, 5, 2, dtype=torch.uint8),
    ],
)
def test_other_frames_are_refused(frames: Tensor) -> None:
    with pytest.raises(MerError, match=r"LBP takes grey uint8 frames .* 3x3 pixels or more, not torch"):
        lbp_codes(frames)


# Histograms.


def test_histograms_count_the_codes_of_the_pixels_in_the_box() -> None:
    frames = random_frames(3, 20, 24)
    x, y, width, height = 5, 4, 9, 7
    got = lbp_histograms(lbp_codes(torch.from_numpy(frames)), torch.tensor([[x, y, width, height]]))
    assert got.shape == (3, 1, 256)
    for k, frame in enumerate(frames):
        inside = scikit_images(frame)[y : y + height, x : x + width]
        np.testing.assert_allclose(got[k, 0], np.bincount(inside.ravel(), minlength=256) / 63, rtol=1e-6)


def test_histograms_sum_to_one_also_where_a_box_leaves_the_frame() -> None:
    codes = lbp_codes(torch.from_numpy(random_frames(3, 20, 24)))
    boxes = torch.tensor([[0, 0, 24, 20], [-9, -9, 99, 99], [20, 15, 50, 50], [0, 0, 2, 2]])
    histograms = lbp_histograms(codes, boxes)
    torch.testing.assert_close(histograms.sum(2), torch.ones(3, 4))
    assert torch.equal(histograms[:, 0], histograms[:, 1])
    # Pixels (20..22, 15..18) are what the third box holds, pixel (1, 1) the last.
    assert histograms[0, 3, int(codes[0, 0, 0])] == 1
    third = torch.bincount(codes[0, 14:, 19:].flatten().long(), minlength=256)
    assert third.sum() == 12
    torch.testing.assert_close(histograms[0, 2], third / 12)


@pytest.mark.parametrize("box", [[0, 0, 1, 20], [23, 0, 5, 5], [30, 3, 5, 5], [5, 5, 0, 4], [-50, 3, 9, 9]])
def test_a_box_without_a_code_is_refused(box: list[int]) -> None:
    codes = lbp_codes(torch.from_numpy(random_frames(2, 20, 24)))
    with pytest.raises(MerError, match=r"region 1 \(x .* holds no LBP code of a 24x20 frame"):
        lbp_histograms(codes, torch.tensor([[2, 2, 5, 5], box]))


def test_other_codes_and_boxes_are_refused() -> None:
    codes = lbp_codes(torch.from_numpy(random_frames(2, 20, 24)))
    with pytest.raises(MerError, match="codes of LBP are uint8"):
        lbp_histograms(codes.long(), torch.tensor([[2, 2, 5, 5]]))
    for boxes in (torch.tensor([2, 2, 5, 5]), torch.tensor([[2.0, 2, 5, 5]]), torch.tensor([[2, 2, 5]])):
        with pytest.raises(MerError, match="regions are whole numbers"):
            lbp_histograms(codes, boxes)
