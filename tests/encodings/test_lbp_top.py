from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mer.data.encoded import encode, open_set
from mer.data.synthetic import write_and_read
from mer.descriptors.lbp_top import lbp_top
from mer.encodings import LBPTOP, FrameSequence
from mer.encodings import lbp_top as module
from mer.errors import MerError
from tests.encodings.clips import padded, random_clips


@pytest.mark.parametrize("size", [None, 12])
def test_a_clip_alone_equals_the_clip_in_a_batch(size: int | None) -> None:
    lengths = torch.tensor([9, 10, 17])
    clips = random_clips(3, 17, side=16)
    encoder = LBPTOP(blocks=3, size=size)
    features = encoder(padded(clips, lengths, 0), lengths)
    assert features.shape == (3, 3 * 3 * 3 * 59, 1, 1)
    assert features.dtype == torch.float32
    assert torch.equal(features, encoder(padded(clips, lengths, 255), lengths))
    for index, length in enumerate(lengths.tolist()):
        alone = encoder(clips[index : index + 1, :length], lengths[index : index + 1])
        assert torch.equal(features[index], alone[0])


def test_grey_clips_are_taken_as_they_are() -> None:
    clips = random_clips(2, 9, channels=1, side=12)
    features = LBPTOP(blocks=2, radius_t=3)(clips, torch.tensor([9, 9]))
    expected = torch.stack([lbp_top(clip[:, 0], radius_t=3, blocks=2) for clip in clips])
    assert torch.equal(features, expected.flatten(1)[..., None, None])


def test_the_options_reach_the_descriptor() -> None:
    clips, lengths = random_clips(1, 9, channels=1, side=20), torch.tensor([9])
    plain = LBPTOP(blocks=2, radius=2, radius_t=1, uniform=False)(clips, lengths)
    expected = lbp_top(clips[0, :, 0], radius=2, radius_t=1, blocks=2, uniform=False)
    assert torch.equal(plain.flatten(), expected.flatten())
    small = FrameSequence(size=12, grey=True)(clips, lengths)
    resized = LBPTOP(blocks=2, size=12)(clips, lengths)
    assert torch.equal(resized.flatten(), lbp_top(small[0, :, 0], blocks=2).flatten())


def test_colours_become_rounded_luma(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = random_clips(1, 9, side=12)[0]
    red, green, blue = clip.double().unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert_close(module.grey_bytes(clip).double(), luma, atol=0.5 + 1e-4, rtol=0)
    whole = module.grey_bytes(clip)
    monkeypatch.setattr(module, "BLOCK", 1)
    assert torch.equal(module.grey_bytes(clip), whole)


def test_a_drawn_database_is_encoded_and_kept(tmp_path: Path) -> None:
    clips = write_and_read(tmp_path, subjects=2, clips_per_class=1, size=24)
    encoded = encode(clips, LBPTOP(blocks=3, radius_t=2), progress=False)
    assert encoded.images.shape == (6, 3 * 3 * 3 * 59, 1, 1)
    assert_close(encoded.images.view(6, 27, 59).sum(2), torch.ones(6, 27))
    kept = open_set(encoded.folder)
    assert kept is not None
    assert torch.equal(kept.images, encoded.images)
    other = encode(clips, LBPTOP(blocks=3, radius_t=1), progress=False)
    assert other.folder != encoded.folder
    assert not torch.equal(other.images, encoded.images)


def test_a_short_clip_is_named() -> None:
    lengths = torch.tensor([9, 8])
    with pytest.raises(MerError, match=r"clip 1 of the batch: 8 frames are too few .*radius_t=4"):
        LBPTOP(blocks=2)(random_clips(2, 9), lengths)


@pytest.mark.parametrize("option", ["blocks", "radius", "radius_t", "size"])
def test_options_are_checked_when_it_is_built(option: str) -> None:
    with pytest.raises(MerError, match=rf"encoding\.{option}=0: give "):
        LBPTOP(**{option: 0})  # type: ignore[arg-type]


def test_bad_clips_are_refused() -> None:
    def encode_clips(clips: Tensor, lengths: Tensor) -> None:
        LBPTOP(blocks=2)(clips, lengths)

    with pytest.raises(MerError, match="not 2 channels"):
        encode_clips(random_clips(1, 9, channels=2), torch.tensor([9]))
    with pytest.raises(MerError, match="a clip's length is 10"):
        encode_clips(random_clips(1, 9), torch.tensor([10]))
