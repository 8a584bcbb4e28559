from itertools import combinations
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import DynamicImage
from mer.encodings.dynamic_image import dynamic_image, dynamic_image_weights
from mer.encodings.scaling import Scale
from mer.errors import MerError
from tests.encodings.clips import assert_alone_equals_together, random_clips


def rank_pooling(frames: Tensor) -> Tensor:
    """Approximate rank pooling by its definition: the sum over pairs t < q of mean(1..q) - mean(1..t)."""
    means = [frames[:t].double().mean(0) for t in range(1, len(frames) + 1)]
    return torch.stack([later - earlier for earlier, later in combinations(means, 2)]).sum(0)


def test_weights_of_short_clips() -> None:
    expected = [[1, 0, 0], [-1 / 2, 1 / 2, 0], [-4 / 3, 2 / 3, 2 / 3]]
    assert_close(dynamic_image_weights(torch.tensor([1, 2, 3]), 3), torch.tensor(expected))


def test_weights_sum_to_zero_and_equal_bilens_harmonic_form() -> None:
    lengths = torch.arange(2, 121)
    weights = dynamic_image_weights(lengths, 120)
    assert weights.shape == (119, 120)
    assert_close(weights.double().sum(1), torch.zeros(119, dtype=torch.float64), atol=1e-4, rtol=0)
    total, t = 97, torch.arange(1, 98)
    harmonic = torch.cat([torch.zeros(1), (1 / t.double()).cumsum(0)])
    expected = 2 * (total - t + 1) - (total + 1) * (harmonic[total] - harmonic[:-1])
    assert_close(weights[total - 2, :total].double(), expected, atol=1e-4, rtol=0)
    assert not weights[total - 2, total:].any()


def test_equals_rank_pooling_by_its_definition_forwards_and_backwards() -> None:
    clip = random_clips(1, 13)
    for one in (clip, clip.flip(1)):
        image = dynamic_image(one, torch.tensor([13]), scale="none")
        assert image.dtype == torch.float32
        assert_close(image[0].double(), rank_pooling(one[0]), atol=1e-3, rtol=1e-6)


def test_one_frame_is_itself_and_two_are_half_their_difference() -> None:
    clips = random_clips(2, 2)
    images = dynamic_image(clips, torch.tensor([1, 2]), scale="none")
    assert torch.equal(images[0], clips[0, 0].float())
    assert torch.equal(images[1], (clips[1, 1].float() - clips[1, 0].float()) / 2)
    backwards = dynamic_image(clips.flip(1), torch.tensor([1, 2]), scale="none")
    assert torch.equal(backwards[1], -images[1])


@pytest.mark.parametrize("frames", [2, 3, 90])
@pytest.mark.parametrize("scale", get_args(Scale))
def test_a_still_clip_is_zero(frames: int, scale: Scale) -> None:
    still = random_clips(1, 1).expand(-1, frames, -1, -1, -1)
    for clips in (still, still.float() * 0.997):
        image = dynamic_image(clips, torch.tensor([frames]), scale=scale)
        assert_close(image, torch.zeros(1, 3, 10, 10), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", get_args(Scale))
def test_padding_and_neighbours_in_the_batch_do_not_matter(scale: Scale) -> None:
    assert_alone_equals_together(DynamicImage(size=7, scale=scale))


def test_ranges_of_the_scales() -> None:
    clips, lengths = random_clips(3, 9), torch.tensor([9, 5, 2])
    raw = dynamic_image(clips, lengths, scale="none")
    stretched = dynamic_image(clips, lengths)
    assert torch.equal(stretched.amin((1, 2, 3)), torch.zeros(3))
    assert torch.equal(stretched.amax((1, 2, 3)), torch.full((3,), 255.0))
    assert torch.equal(dynamic_image(clips, lengths, scale="clip"), raw.clamp(0, 255))
    assert raw.min() < 0
    assert raw.max() > 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, 4, 25])
def test_shape_and_bytes_are_the_same_every_time(channels: int, size: int | None) -> None:
    encoder = DynamicImage(size=size)
    clips, lengths = random_clips(2, 6, channels), torch.tensor([6, 4])
    images = encoder(clips, lengths)
    assert images.shape == (2, channels, size or 10, size or 10)
    assert torch.equal(images, encoder(clips, lengths))
    assert torch.equal(images, encoder(clips.float(), lengths))
    assert (DynamicImage.reads, DynamicImage.gives, DynamicImage.masks_eyes) == ("clip", "image", False)


def test_resizing_after_the_sum_is_resizing_the_frames() -> None:
    from kornia.geometry.transform import resize

    clips, lengths = random_clips(2, 6), torch.tensor([6, 4])
    small = resize(clips.float().flatten(0, 1), (5, 5), antialias=True).view(2, 6, 3, 5, 5)
    expected = dynamic_image(small, lengths, scale="none")
    assert_close(dynamic_image(clips, lengths, size=5, scale="none"), expected, atol=1e-3, rtol=1e-5)


def test_errors_name_the_key_or_the_shape() -> None:
    with pytest.raises(MerError, match=r"encoding\.size=0: give a positive side"):
        DynamicImage(size=0)
    with pytest.raises(MerError, match=r"encoding\.scale='max': choose one of minmax, clip, none"):
        DynamicImage(scale="max")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"clips have shape \(3, 3, 10, 10\): give \(batch, frames"):
        dynamic_image(random_clips(1, 3)[0], torch.tensor([3]))
    with pytest.raises(MerError, match=r"lengths have shape \(2,\): give one for each of the 1 clips"):
        dynamic_image(random_clips(1, 3), torch.tensor([3, 3]))
    for length in (0, 4):
        with pytest.raises(MerError, match=rf"a clip's length is {length}: give 1 to 3"):
            dynamic_image(random_clips(1, 3), torch.tensor([length]))
