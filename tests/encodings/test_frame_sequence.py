import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import FrameSequence
from mer.encodings import frame_sequence as module
from mer.encodings.frame_sequence import frame_sequence
from mer.errors import MerError
from tests.encodings.clips import padded, random_clips


def smooth_clips() -> Tensor:
    """Clips (2, 5, 3, 90, 70) whose frames all differ."""
    small = random_clips(2, 5, side=6).flatten(0, 1).float()
    large = torch.nn.functional.interpolate(small, (90, 70), mode="bicubic").clamp(0, 255)
    return large.round().to(torch.uint8).view(2, 5, 3, 90, 70)


@pytest.mark.parametrize("size", [16, 64, 100])
def test_frames_are_resized_as_pillow_does(size: int) -> None:
    """Pillow smooths where an image shrinks; it rounds between its two passes, and so differs by 1."""
    clips = smooth_clips()
    frames = FrameSequence(size=size)(clips, torch.tensor([5, 5]))
    assert (frames.dtype, frames.shape) == (torch.uint8, (2, 5, 3, size, size))
    for frame, original in zip(frames.flatten(0, 1), clips.flatten(0, 1), strict=True):
        picture = Image.fromarray(original.permute(1, 2, 0).numpy())
        expected = picture.resize((size, size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(expected)).permute(2, 0, 1)
        assert_close(frame.int(), pixels.int(), atol=1, rtol=0)
    assert torch.equal(FrameSequence(size=size)(clips.float(), torch.tensor([5, 5])), frames)


def test_at_their_own_size_frames_are_kept_exactly() -> None:
    clips, lengths = random_clips(2, 5), torch.tensor([5, 3])
    assert torch.equal(FrameSequence(size=10)(clips, lengths), padded(clips, lengths, 0))
    fractions = clips.float() + 0.4
    assert torch.equal(FrameSequence(size=10)(fractions.clamp(0, 255), lengths), padded(clips, lengths, 0))


def test_a_flat_frame_stays_flat() -> None:
    for level in (0, 90, 255):
        clips = torch.full((1, 2, 3, 61, 47), level, dtype=torch.uint8)
        assert (frame_sequence(clips, torch.tensor([2]), size=13) == level).all()


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_padding_is_zero_and_has_no_influence(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    lengths = torch.tensor([1, 4, 6])
    clips = random_clips(3, 6, side=20)
    frames = frame_sequence(padded(clips, lengths, 0), lengths, size=7)
    assert torch.equal(frames, frame_sequence(padded(clips, lengths, 255), lengths, size=7))
    for index, length in enumerate(lengths.tolist()):
        alone = frame_sequence(clips[index : index + 1, :length], lengths[index : index + 1], size=7)
        assert torch.equal(frames[index, :length], alone[0])
        assert not frames[index, length:].any()


def test_grey_is_luma() -> None:
    clips, lengths = smooth_clips(), torch.tensor([5, 4])
    frames = FrameSequence(size=20, grey=True)(clips, lengths)
    assert frames.shape == (2, 5, 1, 20, 20)
    red, green, blue = FrameSequence(size=20)(clips, lengths).float().unbind(2)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue)[:, :, None]
    # The three colours were rounded first.
    assert (frames.float() - luma).abs().max() <= 1.001
    one = clips[:, :, :1]
    assert torch.equal(FrameSequence(size=20, grey=True)(one, lengths), FrameSequence(size=20)(one, lengths))


def test_an_empty_batch_stays_empty_and_what_it_reads() -> None:
    assert FrameSequence()(random_clips(2, 3)[:0], torch.zeros(0).long()).shape == (0, 3, 3, 64, 64)
    assert (FrameSequence.reads, FrameSequence.gives, FrameSequence.masks_eyes) == ("clip", "sequence", False)


def test_errors_name_the_key_or_the_shape() -> None:
    with pytest.raises(MerError, match=r"encoding\.size=0: give a positive side"):
        FrameSequence(size=0)
    with pytest.raises(MerError, match="a clip's length is 4: give 1 to 3"):
        frame_sequence(random_clips(1, 3), torch.tensor([4]))
    with pytest.raises(MerError, match="grey or R, G, B frames, not 2 channels"):
        frame_sequence(random_clips(1, 3, 2), torch.tensor([3]), grey=True)
