import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.feature import local_binary_pattern
from torch import Tensor
from torch.nn.functional import one_hot
from torch.testing import assert_close

from mer.descriptors import lbp, lbp_top
from mer.descriptors.blocks import block_bounds
from mer.descriptors.lbp_top import plane_codes, uniform_bins
from mer.errors import MerError

histograms = lbp_top.lbp_top


def random_clip(*shape: int, levels: int = 256, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, levels, shape, np.uint8))


def code_at(image: NDArray[np.uint8], row: int, column: int, radii: tuple[int, int]) -> int:
    """One pixel's code by the definition: neighbours on the ellipse from the right on, counter-clockwise."""
    code = 0
    for bit in range(8):
        y = row - round(radii[0] * math.sin(2 * math.pi * bit / 8), 12)
        x = column + round(radii[1] * math.cos(2 * math.pi * bit / 8), 12)
        top, left = math.floor(y), math.floor(x)
        value = 0.0
        for down in (0, 1):
            for right in (0, 1):
                share = (1 - abs(y - top - down)) * (1 - abs(x - left - right))
                if share > 0:
                    value += share * int(image[top + down, left + right])
        code |= (value >= int(image[row, column]) - 1e-5) << bit
    return code


def loop(clip: NDArray[np.uint8], radius: int, radius_t: int, blocks: int) -> NDArray[np.float64]:
    """(blocks * blocks, 3, 256) counts, pixel by pixel."""
    frames, height, width = clip.shape
    counts = np.zeros((blocks * blocks, 3, 256))
    for y in range(radius, height - radius):
        row = next(k for k, (start, end) in enumerate(block_bounds(height, blocks)) if start <= y < end)
        for x in range(radius, width - radius):
            column = next(k for k, (start, end) in enumerate(block_bounds(width, blocks)) if start <= x < end)
            block = row * blocks + column
            for t in range(radius_t, frames - radius_t):
                counts[block, 0, code_at(clip[t], y, x, (radius, radius))] += 1
                counts[block, 1, code_at(clip[:, y], t, x, (radius_t, radius))] += 1
                counts[block, 2, code_at(clip[:, :, x], t, y, (radius_t, radius))] += 1
    return counts


# Codes.


@pytest.mark.parametrize("radii", [(1, 1), (2, 1), (4, 1), (2, 3), (3, 3)])
@pytest.mark.parametrize("levels", [256, 4])
def test_codes_follow_the_definition(radii: tuple[int, int], levels: int) -> None:
    images = random_clip(2, 12, 13, levels=levels)
    codes = plane_codes(images, radii).numpy()
    assert codes.shape == (2, 12 - 2 * radii[0], 13 - 2 * radii[1])
    for image, found in zip(images.numpy(), codes, strict=True):
        for (row, column), code in np.ndenumerate(found):
            assert code == code_at(image, row + radii[0], column + radii[1], radii)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_codes_of_a_circle_are_scikit_images(radius: int) -> None:
    images = random_clip(2, 19, 23)
    inner = slice(radius, -radius)
    expected = [
        local_binary_pattern(image, 8, radius, "default")[inner, inner]  # type: ignore[no-untyped-call]
        for image in images.numpy()
    ]
    assert np.array_equal(plane_codes(images, (radius, radius)).numpy(), np.stack(expected))


@pytest.mark.parametrize("grey", [0, 77, 255])
@pytest.mark.parametrize("radii", [(1, 1), (4, 1)])
def test_flat_images_have_all_bits_set(grey: int, radii: tuple[int, int]) -> None:
    assert (plane_codes(torch.full((2, 11, 12), grey, dtype=torch.uint8), radii) == 255).all()


def test_uniform_codes_are_scikit_images() -> None:
    image = random_clip(200, 200).numpy()
    ours = uniform_bins()[plane_codes(torch.from_numpy(image)[None], (1, 1))[0].long()].numpy()
    theirs = local_binary_pattern(image, 8, 1, "nri_uniform")[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    # The same codes share a bin, under whatever number.
    assert len(pairs) == 59
    assert {first for first, _ in pairs} == set(range(59)) == {int(second) for _, second in pairs}


# Histograms.


@pytest.mark.parametrize(("radius", "radius_t", "blocks"), [(1, 1, 2), (1, 3, 3), (2, 2, 1)])
def test_histograms_are_those_of_a_loop(radius: int, radius_t: int, blocks: int) -> None:
    clip = random_clip(8, 10, 11)
    counts = loop(clip.numpy(), radius, radius_t, blocks)
    got = histograms(clip, radius=radius, radius_t=radius_t, blocks=blocks, uniform=False)
    np.testing.assert_allclose(got, counts / counts.sum(-1, keepdims=True), rtol=1e-6)
    uniform = counts @ one_hot(uniform_bins(), 59).numpy()
    got = histograms(clip, radius=radius, radius_t=radius_t, blocks=blocks)
    np.testing.assert_allclose(got, uniform / uniform.sum(-1, keepdims=True), rtol=1e-6)


def test_the_xy_plane_is_scikit_images() -> None:
    clip = random_clip(9, 14, 15)
    codes = [
        local_binary_pattern(frame, 8, 1, "default")[1:-1, 1:-1]  # type: ignore[no-untyped-call]
        for frame in clip.numpy()[2:-2]
    ]
    counts = np.bincount(np.stack(codes).ravel().astype(int), minlength=256)
    got = histograms(clip, radius_t=2, blocks=1, uniform=False)[0, 0]
    np.testing.assert_allclose(got, counts / counts.sum(), rtol=1e-6)


def test_a_transposed_frame_swaps_the_planes_of_time() -> None:
    clip = random_clip(11, 16, 13)
    one, other = histograms(clip), histograms(clip.transpose(1, 2))
    assert one.shape == (25, 3, 59)
    assert torch.equal(one[:, 1], other.view(5, 5, 3, 59).transpose(0, 1).flatten(0, 1)[:, 2])
    assert not torch.equal(one[:, 1], one[:, 2])


def test_brightness_and_contrast_leave_histograms_as_they_are() -> None:
    clip = random_clip(10, 15, 15, levels=100)
    assert torch.equal(histograms(clip), histograms(clip * 2 + 30))


def test_a_still_clip_says_nothing_along_time() -> None:
    clip = random_clip(1, 20, 20).expand(10, 20, 20)
    got = histograms(clip, blocks=2, uniform=False)
    assert_close(got.sum(-1), torch.ones(4, 3))
    # Neighbours before and after are the pixel itself (bits 2 and 6), and a column of time is symmetric.
    codes = got[:, 1].nonzero()[:, 1]
    assert ((codes & 0b01000100) == 0b01000100).all()
    assert (((codes >> 1) & 1) == ((codes >> 7) & 1)).all()
    assert (((codes >> 3) & 1) == ((codes >> 5) & 1)).all()
    assert len(set(codes.tolist())) > 2


def test_length_leaves_a_repeating_clip_as_it_is() -> None:
    pattern = random_clip(4, 12, 12)
    # 16 and 32 inner frames are whole periods, with whole periods around them.
    short, long = pattern.repeat(6, 1, 1), pattern.repeat(10, 1, 1)
    assert_close(histograms(short), histograms(long))


def test_working_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = random_clip(12, 14, 13)
    whole = histograms(clip)
    for chunk in (1, 400):
        monkeypatch.setattr(lbp, "CHUNK", chunk)
        monkeypatch.setattr(lbp_top, "CHUNK", chunk)
        assert torch.equal(histograms(clip), whole)


# Errors.


def test_a_short_clip_is_refused() -> None:
    clip = random_clip(9, 12, 12)
    assert histograms(clip).isfinite().all()
    with pytest.raises(MerError, match=r"8 frames are too few for LBP-TOP with encoding.radius_t=4.* 9: "):
        histograms(clip[:8])
    assert histograms(clip[:8], radius_t=3).isfinite().all()


def test_frames_too_small_for_the_blocks_are_refused() -> None:
    clip = random_clip(9, 12, 12)
    with pytest.raises(MerError, match=r"12x12 pixels are too small for encoding.blocks=12 with .*radius=1"):
        histograms(clip, blocks=12)
    with pytest.raises(MerError, match=r"encoding\.blocks=13 on a side of 12 pixels"):
        histograms(clip, blocks=13)


def test_bad_input_is_refused() -> None:
    with pytest.raises(MerError, match="LBP-TOP takes a grey uint8 clip"):
        histograms(torch.zeros(9, 12, 12))
    with pytest.raises(MerError, match="LBP-TOP takes a grey uint8 clip"):
        histograms(random_clip(9, 1, 12, 12))
    with pytest.raises(MerError, match=r"encoding\.radius_t=0: give 1 or more"):
        histograms(random_clip(9, 12, 12), radius_t=0)
