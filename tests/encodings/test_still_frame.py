import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.encodings import StillFrame
from mer.encodings.still_frame import Frame, still_frame
from mer.errors import MerError


def random_clips(channels: int = 1, *, side: int = 56) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), torch.tensor([2, 2, 2])


@pytest.mark.parametrize(("frame", "index"), [("onset", 0), ("apex", 1)])
def test_it_is_that_frame_and_the_other_one_does_not_matter(frame: Frame, index: int) -> None:
    clips, lengths = random_clips()
    image = StillFrame(frame=frame)(clips, lengths)
    assert (image.dtype, image.shape) == (torch.float32, (3, 1, 28, 28))
    assert torch.equal(image, still_frame(clips[:, index]))
    other = clips.clone()
    other[:, 1 - index] = 0
    assert torch.equal(StillFrame(frame=frame)(other, lengths), image)
    other[:, index] = 0
    assert not StillFrame(frame=frame)(other, lengths).any()
    assert (StillFrame.reads, StillFrame.gives, StillFrame.masks_eyes) == ("onset_apex", "image", False)


def test_greys_keep_their_values() -> None:
    """No stretching: a frame at its own size comes out as it went in, and a flat one stays flat."""
    clips, lengths = random_clips(side=28)
    assert_close(StillFrame()(clips, lengths), clips[:, 0].float(), atol=1e-3, rtol=0)
    for level in (0, 90, 255):
        image = still_frame(torch.full((1, 1, 60, 41), level, dtype=torch.uint8), size=13)
        assert image.max() <= 255
        assert_close(image, torch.full((1, 1, 13, 13), float(level)), atol=1e-3, rtol=0)


def test_colour_is_turned_into_luma() -> None:
    clips, lengths = random_clips(3)
    red, green, blue = (clips[:, 0, k : k + 1].float() for k in range(3))
    assert_close(StillFrame()(clips, lengths), still_frame(0.299 * red + 0.587 * green + 0.114 * blue))
    grey, _ = random_clips()
    assert_close(
        StillFrame()(grey.expand(-1, -1, 3, -1, -1), lengths), StillFrame()(grey, lengths), atol=0.1, rtol=0
    )


def test_the_same_batch_gives_the_same_bytes_and_an_empty_one_stays_empty() -> None:
    clips, lengths = random_clips()
    assert torch.equal(StillFrame()(clips, lengths), StillFrame()(clips, lengths))
    assert torch.equal(StillFrame()(clips, lengths), StillFrame()(clips.float(), lengths))
    assert StillFrame(size=20)(clips[:0], lengths[:0]).shape == (0, 1, 20, 20)


def test_errors_name_the_key_or_the_shape() -> None:
    clips, lengths = random_clips()
    with pytest.raises(MerError, match=r"encoding\.size=0: give a positive side"):
        StillFrame(size=0)
    with pytest.raises(MerError, match=r"encoding\.frame='offset': choose one of onset, apex"):
        StillFrame(frame="offset")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"two frames a clip, onset and apex, .* lengths \[1, 2\]: load"):
        StillFrame()(clips, torch.tensor([2, 1, 2]))
    with pytest.raises(MerError, match="grey or R, G, B frames, not 2 channels"):
        StillFrame()(clips.expand(-1, -1, 2, -1, -1), lengths)
