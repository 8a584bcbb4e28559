"""Random clips, and the properties that every sum of frames shares."""

import torch
from torch import Tensor, nn
from torch.testing import assert_close


def random_clips(batch: int, frames: int, channels: int = 3, side: int = 10, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (batch, frames, channels, side, side), generator=generator, dtype=torch.uint8
    )


def padded(clips: Tensor, lengths: Tensor, value: int) -> Tensor:
    """The clips with each frame after a clip's end set to ``value``."""
    after = torch.arange(clips.shape[1]) >= lengths[:, None]
    return clips.masked_fill(after[:, :, None, None, None], value)


def assert_alone_equals_together(encoder: nn.Module) -> None:
    """Neither padding nor the neighbours in the batch matter; the same batch gives the same bytes."""
    lengths = torch.tensor([1, 2, 3, 7, 40])
    clips = random_clips(5, 40)
    images = encoder(padded(clips, lengths, 0), lengths)
    assert torch.equal(images, encoder(padded(clips, lengths, 0), lengths))
    assert torch.equal(images, encoder(padded(clips, lengths, 255), lengths))
    assert_close(images, encoder(clips.float(), lengths), atol=1e-3, rtol=1e-5)
    for index, length in enumerate(lengths.tolist()):
        alone = encoder(clips[index : index + 1, :length], lengths[index : index + 1])
        assert_close(images[index] / 255, alone[0] / 255, atol=1e-5, rtol=1e-5)
