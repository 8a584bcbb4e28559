import pytest
import torch
from torch.testing import assert_close

from mer.encodings import FramesAndFlow, FrameSequence
from mer.encodings.apex_flow import TVL1, grey, tvl1_flow
from mer.encodings.frames_and_flow import frames_and_flow
from mer.errors import MerError
from tests.encodings.clips import padded, random_clips

QUICK = TVL1(scales=1, warps=1, outer_iterations=1)


def test_frames_are_those_of_a_sequence_and_flow_is_that_between_them() -> None:
    clips, lengths = random_clips(2, 4, side=40), torch.tensor([4, 3])
    clips = padded(clips, lengths, 0)
    found = frames_and_flow(clips, lengths, size=24, params=QUICK)
    assert (found.dtype, found.shape) == (torch.float16, (2, 4, 5, 24, 24))
    frames = FrameSequence(size=24)(clips, lengths)
    assert torch.equal(found[:, :, :3], frames.half())
    flow = tvl1_flow(grey(frames[0, :3]), grey(frames[0, 1:]), params=QUICK)
    assert flow.abs().max() > 0.1
    assert torch.equal(found[0, :3, 3:], flow.half())
    assert not found[0, 3, 3:].any()
    assert not found[1, 2:, 3:].any()


def test_a_shifted_frame_flows_by_its_shift() -> None:
    still = torch.nn.functional.interpolate(torch.rand(1, 1, 8, 8) * 255, (40, 40), mode="bicubic")
    picture = still.clamp(0, 255).round().to(torch.uint8)[0].expand(3, -1, -1)
    clip = torch.stack([picture, picture.roll(1, dims=2), picture.roll(1, dims=2)])[None]
    found = FramesAndFlow(size=40)(clip, torch.tensor([3]))[0].float()
    assert_close(found[0, 3, 8:-8, 8:-8].mean(), torch.tensor(1.0), atol=0.05, rtol=0)
    assert_close(found[0, 4, 8:-8, 8:-8].mean(), torch.tensor(0.0), atol=0.05, rtol=0)
    assert found[1, 3:].abs().max() == 0


def test_grey_frames_stand_three_times() -> None:
    clips = random_clips(1, 2)[:, :, :1]
    found = frames_and_flow(clips, torch.tensor([2]), size=10, params=QUICK)
    assert torch.equal(found[:, :, 0], clips[:, :, 0].half())
    assert torch.equal(found[:, :, 1], found[:, :, 2])


def test_padding_has_no_influence_and_one_frame_has_no_flow() -> None:
    clips, lengths = random_clips(3, 5, side=20), torch.tensor([1, 3, 5])
    found = frames_and_flow(padded(clips, lengths, 0), lengths, size=16, params=QUICK)
    assert torch.equal(found, frames_and_flow(padded(clips, lengths, 255), lengths, size=16, params=QUICK))
    assert not found[0, :, 3:].any()
    for index, length in enumerate(lengths.tolist()):
        alone = frames_and_flow(
            clips[index : index + 1, :length], lengths[index : index + 1], size=16, params=QUICK
        )
        assert torch.equal(found[index, :length], alone[0])
        assert not found[index, length:].any()


def test_what_it_says_of_itself_and_refuses() -> None:
    assert (FramesAndFlow.reads, FramesAndFlow.gives, FramesAndFlow.masks_eyes) == ("clip", "sequence", False)
    with pytest.raises(MerError, match=r"encoding\.size=0"):
        FramesAndFlow(size=0)
    with pytest.raises(MerError, match=r"encoding\.warps=0"):
        FramesAndFlow(warps=0)
