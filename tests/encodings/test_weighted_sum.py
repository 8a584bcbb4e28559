import pytest
import torch
from torch.testing import assert_close

from mer.encodings import weighted_sum as module
from mer.encodings.weighted_sum import weighted_sum
from tests.encodings.clips import random_clips


def draw_weights(batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
def test_it_is_the_weighted_sum_whatever_the_size_of_a_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    clips, weights = random_clips(3, 9), draw_weights(3, 9)
    expected = torch.einsum("bt,btchw->bchw", weights.double(), clips.double())
    for given in (clips, clips.float(), clips.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)):
        before = given.clone()
        sums = weighted_sum(given, weights, weights.sum(1))
        assert (sums.dtype, sums.shape) == (torch.float32, (3, 3, 10, 10))
        assert_close(sums.double(), expected, atol=1e-3, rtol=1e-5)
        assert torch.equal(given, before)


def test_no_more_than_a_block_is_ever_a_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long clip is given as bytes, and no float copy of it is made."""
    seen = []
    bmm = torch.bmm

    def watched(rows: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        seen.append(motion.numel())
        return bmm(rows, motion)

    monkeypatch.setattr(torch, "bmm", watched)
    clips = random_clips(2, 141, side=80)
    weighted_sum(clips, draw_weights(2, 141), torch.zeros(2))
    assert sum(seen) == clips.numel()
    assert max(seen) <= module.BLOCK < clips.numel()


def test_bytes_do_not_wrap_around() -> None:
    clips = torch.tensor([200, 10, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    sums = weighted_sum(clips, torch.tensor([[-2.0, 1.0, 1.0]]), torch.zeros(1))
    assert sums.item() == 10 + 255 - 400


@pytest.mark.parametrize("total", [0, 1, 90])
def test_a_still_clip_is_exactly_its_frame_times_the_total(total: int) -> None:
    weights = draw_weights(1, 90).double()
    weights += (total - weights.sum()) / 90
    for still in (random_clips(1, 1), random_clips(1, 1).float() * 0.997):
        sums = weighted_sum(still.expand(-1, 90, -1, -1, -1), weights, torch.tensor([total]))
        assert torch.equal(sums, still[:, 0].float() * total)


def test_an_empty_batch_stays_empty() -> None:
    assert weighted_sum(random_clips(2, 3)[:0], torch.zeros(0, 3), torch.zeros(0)).shape == (0, 3, 10, 10)
