from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import ActiveImage
from mer.encodings.active_image import Reading, active_image, active_image_weights
from mer.encodings.scaling import Scale
from mer.errors import MerError
from tests.encodings.clips import assert_alone_equals_together, random_clips

LENGTHS = torch.arange(1, 142)
READINGS = get_args(Reading)


def all_pairs(frames: Tensor) -> Tensor:
    """OrigiNet's release: V_j - V_k, over all j and all k <= j - 2."""
    sums = torch.zeros(frames.shape[1:], dtype=torch.float64)
    for j in range(1, len(frames) + 1):
        for k in range(1, j - 1):
            sums += frames[j - 1].double() - frames[k - 1].double()
    return sums


def as_printed(frames: Tensor, reading: Reading) -> Tensor:
    """OrigiNet eq 1-3: the sum over t = 2..T of F_{t-1} + F_t."""
    values = frames.double()
    sums = torch.zeros(frames.shape[1:], dtype=torch.float64)
    for t in range(2, len(frames) + 1):
        for end in (t - 1, t):
            before = max(end - 1, 1) if reading == "literal" else 1
            sums += values[end - 1] - values[before - 1]
    return sums


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 17])
@pytest.mark.parametrize("reading", READINGS)
def test_equals_its_definition(reading: Reading, frames: int) -> None:
    clip = random_clips(1, frames)
    image = active_image(clip, torch.tensor([frames]), scale="none", reading=reading)
    expected = all_pairs(clip[0]) if reading == "authors" else as_printed(clip[0], reading)
    assert image.dtype == torch.float32
    assert_close(image[0].double(), expected, atol=1e-3, rtol=1e-5)


def test_weights_of_short_clips() -> None:
    lengths = torch.tensor([1, 2, 3, 4])
    expected = {
        "authors": [[0, 0, 0, 0], [0, 0, 0, 0], [-1, 0, 1, 0], [-2, -1, 1, 2]],
        "literal": [[0, 0, 0, 0], [-1, 1, 0, 0], [-2, 1, 1, 0], [-2, 0, 1, 1]],
        "cumulative": [[0, 0, 0, 0], [-1, 1, 0, 0], [-3, 2, 1, 0], [-5, 2, 2, 1]],
    }
    assert set(expected) == set(READINGS)
    for reading in READINGS:
        weights = active_image_weights(lengths, 4, reading=reading)
        assert torch.equal(weights, torch.tensor(expected[reading]).float())


@pytest.mark.parametrize("reading", READINGS)
def test_weights_sum_to_zero_and_padding_has_none(reading: Reading) -> None:
    weights = active_image_weights(LENGTHS, 150, reading=reading)
    assert (weights.dtype, weights.shape) == (torch.float32, (141, 150))
    assert torch.equal(weights.sum(1), torch.zeros(141))
    assert not weights[torch.arange(1, 151) > LENGTHS[:, None]].any()
    assert weights[2:].any(1).all()


def test_reversing_time_negates_the_authors_active_image() -> None:
    clips, lengths = random_clips(2, 11), torch.tensor([11, 11])
    image = active_image(clips, lengths, scale="none")
    backwards = active_image(clips.flip(1), lengths, scale="none")
    assert image.abs().max() > 255
    assert_close(backwards, -image, atol=1e-3, rtol=1e-5)


def test_the_literal_reading_is_three_frames() -> None:
    clips = random_clips(1, 30)
    first, before, last = (clips[:, t].float() for t in (0, -2, -1))
    image = active_image(clips, torch.tensor([30]), scale="none", reading="literal")
    assert_close(image, last + before - 2 * first, atol=1e-3, rtol=0)
    clips[:, 1:-2] = 0
    assert torch.equal(image, active_image(clips, torch.tensor([30]), scale="none", reading="literal"))


@pytest.mark.parametrize("frames", [1, 2, 3, 90])
@pytest.mark.parametrize("scale", get_args(Scale))
def test_a_still_clip_is_zero(frames: int, scale: Scale) -> None:
    still = random_clips(1, 1).expand(-1, frames, -1, -1, -1)
    for reading in READINGS:
        image = active_image(still, torch.tensor([frames]), scale=scale, reading=reading)
        assert torch.equal(image, torch.zeros(1, 3, 10, 10))


@pytest.mark.parametrize("frames", [1, 2])
def test_the_authors_need_three_frames(frames: int) -> None:
    assert not active_image(random_clips(1, frames), torch.tensor([frames])).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_the_sum_of_grey_frames_three_times(channels: int) -> None:
    clips, lengths = random_clips(2, 8, channels), torch.tensor([8, 5])
    image = ActiveImage(size=6, grey=True, scale="none")(clips, lengths)
    assert image.shape == (2, 3, 6, 6)
    assert torch.equal(image[:, :1].expand(-1, 3, -1, -1), image)
    luma = clips.float()
    if channels == 3:
        red, green, blue = luma.unbind(2)
        luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, :, None]
    expected = active_image(luma, lengths, size=6, scale="none")
    assert_close(image[:, :1], expected, atol=1e-2, rtol=1e-5)


def test_the_release_saturates_a_long_clip() -> None:
    image = ActiveImage(scale="clip", grey=True)(random_clips(1, 67), torch.tensor([67]))
    assert ((image == 0) | (image == 255)).float().mean() > 0.9


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("reading", READINGS)
def test_padding_and_neighbours_in_the_batch_do_not_matter(reading: Reading, scale: Scale) -> None:
    assert_alone_equals_together(ActiveImage(size=7, scale=scale, reading=reading))
    assert_alone_equals_together(ActiveImage(scale=scale, reading=reading, grey=True))


def test_shape_range_and_what_it_reads() -> None:
    clips, lengths = random_clips(2, 6, 1), torch.tensor([6, 4])
    image = ActiveImage(size=25)(clips, lengths)
    assert (image.dtype, image.shape) == (torch.float32, (2, 1, 25, 25))
    assert torch.equal(image.amin((1, 2, 3)), torch.zeros(2))
    assert torch.equal(image.amax((1, 2, 3)), torch.full((2,), 255.0))
    assert ActiveImage()(clips, lengths).shape == (2, 1, 10, 10)
    assert (ActiveImage.reads, ActiveImage.gives, ActiveImage.masks_eyes) == ("clip", "image", False)


def test_errors_name_the_key_or_the_shape() -> None:
    with pytest.raises(MerError, match=r"encoding\.size=0: give a positive side"):
        ActiveImage(size=0)
    with pytest.raises(MerError, match=r"encoding\.scale='max': choose one of minmax, clip, none"):
        ActiveImage(scale="max")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"encoding\.reading='x': choose one of authors, literal, cumulative"):
        ActiveImage(reading="x")  # type: ignore[arg-type]
    with pytest.raises(MerError, match="a clip's length is 0: give 1 to 3"):
        active_image(random_clips(1, 3), torch.tensor([0]))
    with pytest.raises(MerError, match="grey or R, G, B frames, not 2 channels"):
        active_image(random_clips(1, 3, 2), torch.tensor([3]), grey=True)
