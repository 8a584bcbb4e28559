from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import AffectiveMotionImage
from mer.encodings.affective_motion_image import Reading, affective_motion_image, affective_motion_weights
from mer.encodings.dynamic_image import dynamic_image, dynamic_image_weights
from mer.encodings.scaling import Scale
from mer.errors import MerError
from tests.encodings.clips import assert_alone_equals_together, random_clips

LENGTHS = torch.arange(1, 142)
READINGS = get_args(Reading)


def by_definition(frames: int, last: int) -> Tensor:
    """AffectiveNet eq 1-3, term by term."""
    weights = [0.0] * frames
    for t in range(1, frames + 1):
        for i in range(t, last + 1):
            weights[t - 1] += (2 * i - frames) / i
    return torch.tensor(weights, dtype=torch.float64)


@pytest.mark.parametrize("reading", READINGS)
def test_weights_are_those_of_the_definition(reading: Reading) -> None:
    weights = affective_motion_weights(LENGTHS, 150, reading=reading)
    assert (weights.dtype, weights.shape) == (torch.float32, (141, 150))
    for length, row in zip(LENGTHS.tolist(), weights, strict=True):
        last = length if reading == "released" else length - 1
        assert_close(row[:length].double(), by_definition(length, last), atol=1e-5, rtol=1e-5)
        assert not row[length:].any()


def test_weights_of_short_clips() -> None:
    lengths = torch.tensor([1, 2, 3])
    released = torch.tensor([[1, 0, 0], [1, 1, 0], [1 / 2, 3 / 2, 1]])
    assert_close(affective_motion_weights(lengths, 3), released, atol=1e-6, rtol=0)
    literal = torch.tensor([[0, 0, 0], [0, 0, 0], [-1 / 2, 1 / 2, 0]])
    assert_close(affective_motion_weights(lengths, 3, reading="literal"), literal, atol=1e-6, rtol=0)


def test_weights_sum_to_the_length_or_to_zero() -> None:
    size = affective_motion_weights(LENGTHS, 141).abs().sum(1).double()
    for reading, expected in (("released", LENGTHS.double()), ("literal", torch.zeros(141).double())):
        sums = affective_motion_weights(LENGTHS, 141, reading=reading).double().sum(1)  # type: ignore[arg-type]
        assert_close(sums / size, expected / size, atol=1e-5, rtol=0)


def test_released_minus_the_dynamic_image_is_the_sum_of_reciprocals() -> None:
    lengths = torch.arange(2, 142)
    extra = affective_motion_weights(lengths, 141) - dynamic_image_weights(lengths, 141)
    for length, row in zip(lengths.tolist(), extra, strict=True):
        expected = torch.tensor([sum(1 / i for i in range(t, length + 1)) for t in range(1, length + 1)])
        # Differences of float32 weights of up to some hundreds.
        assert_close(row[:length], expected, atol=1e-4, rtol=1e-5)


def test_literal_weights_are_bilens_of_the_frames_but_the_last() -> None:
    lengths = torch.arange(3, 142)
    literal = affective_motion_weights(lengths, 141, reading="literal")
    assert_close(literal, dynamic_image_weights(lengths - 1, 141), atol=1e-5, rtol=1e-5)
    clips = random_clips(1, 12)
    image = affective_motion_image(clips, torch.tensor([12]), scale="none", reading="literal")
    assert_close(image, dynamic_image(clips, torch.tensor([11]), scale="none"), atol=1e-3, rtol=1e-5)
    changed = clips.clone()
    changed[:, -1] = 0
    other = affective_motion_image(changed, torch.tensor([12]), scale="none", reading="literal")
    assert torch.equal(image, other)


@pytest.mark.parametrize("frames", [1, 2, 3, 90])
def test_a_still_clip_is_its_frame_times_its_length_or_zero(frames: int) -> None:
    still = random_clips(1, 1)
    clips, lengths = still.expand(-1, frames, -1, -1, -1), torch.tensor([frames])
    assert torch.equal(affective_motion_image(clips, lengths, scale="none"), frames * still[:, 0].float())
    assert not affective_motion_image(clips, lengths, reading="literal").any()


def test_one_frame_is_itself_and_two_are_their_sum() -> None:
    clips = random_clips(2, 2)
    images = affective_motion_image(clips, torch.tensor([1, 2]), scale="none")
    assert torch.equal(images[0], clips[0, 0].float())
    assert torch.equal(images[1], clips[1, 0].float() + clips[1, 1].float())


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("reading", READINGS)
def test_padding_and_neighbours_in_the_batch_do_not_matter(reading: Reading, scale: Scale) -> None:
    assert_alone_equals_together(AffectiveMotionImage(size=7, scale=scale, reading=reading))


def test_shape_range_and_what_it_reads() -> None:
    clips, lengths = random_clips(2, 6, 1), torch.tensor([6, 4])
    image = AffectiveMotionImage(size=25)(clips, lengths)
    assert (image.dtype, image.shape) == (torch.float32, (2, 1, 25, 25))
    assert torch.equal(image.amin((1, 2, 3)), torch.zeros(2))
    assert torch.equal(image.amax((1, 2, 3)), torch.full((2,), 255.0))
    assert AffectiveMotionImage()(clips, lengths).shape == (2, 1, 10, 10)
    assert (AffectiveMotionImage.reads, AffectiveMotionImage.gives) == ("clip", "image")
    assert not AffectiveMotionImage.masks_eyes


def test_errors_name_the_key_or_the_shape() -> None:
    with pytest.raises(MerError, match=r"encoding\.size=0: give a positive side"):
        AffectiveMotionImage(size=0)
    with pytest.raises(MerError, match=r"encoding\.scale='max': choose one of minmax, clip, none"):
        AffectiveMotionImage(scale="max")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"encoding\.reading='paper': choose one of released, literal"):
        AffectiveMotionImage(reading="paper")  # type: ignore[arg-type]
    with pytest.raises(MerError, match="a clip's length is 4: give 1 to 3"):
        affective_motion_image(random_clips(1, 3), torch.tensor([4]))
