from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.testing import assert_close

from mer.data.encoded import encode
from mer.data.encoding_key import parameters
from mer.data.synthetic import write_and_read
from mer.descriptors.bi_woof import bi_woof
from mer.encodings import BiWOOF
from mer.encodings.apex_flow import TVL1, optical_strain, tvl1_flow
from mer.errors import MerError
from tests.encodings.clips import random_clips

PAIR = torch.tensor([2])


def smooth_pair(down: int, right: int, *, side: int = 40) -> Tensor:
    """Smooth random texture and the same moved by whole pixels, (1, 2, 1, side, side)."""
    coarse = random_clips(1, 1, channels=1, side=12)[0].float()
    wide = interpolate(coarse, (side + 8, side + 8), mode="bicubic").clamp(0, 255).to(torch.uint8)
    first = wide[:, :, 4 : 4 + side, 4 : 4 + side]
    second = wide[:, :, 4 - down : 4 - down + side, 4 - right : 4 - right + side]
    return torch.stack([first, second], dim=1)


def test_it_is_the_descriptor_of_flow_and_strain() -> None:
    clips = torch.cat([smooth_pair(1, 0), smooth_pair(0, -2)])
    flow = tvl1_flow(clips[:, 0], clips[:, 1], params=TVL1())
    features = BiWOOF(bins=6, blocks=3, reading="described")(clips, PAIR.repeat(2))
    expected = bi_woof(flow, optical_strain(flow), bins=6, blocks=3, reading="described")
    assert features.shape == (2, 54, 1, 1)
    assert torch.equal(features, expected[..., None, None])


@pytest.mark.parametrize(
    ("down", "right", "places"), [(0, 2, {3, 4}), (2, 0, {5, 6}), (0, -2, {7, 0}), (-2, 0, {1, 2})]
)
def test_motion_is_in_the_bins_of_its_direction(down: int, right: int, places: set[int]) -> None:
    # On an edge of two bins, which noise divides between them.
    features = BiWOOF(blocks=1)(smooth_pair(down, right), PAIR).flatten()
    shares = features / features.sum()
    assert shares[list(places)].sum() > 0.9


def test_onset_without_motion_is_zero() -> None:
    still = random_clips(1, 1, side=20).repeat(1, 2, 1, 1, 1)
    assert torch.equal(BiWOOF()(still, PAIR), torch.zeros(1, 200, 1, 1))


def test_the_solver_is_chosen_and_belongs_to_the_key() -> None:
    pair = smooth_pair(1, 1)
    opencv, ipol = BiWOOF(), BiWOOF(tvl1="ipol")
    assert ipol.params == TVL1.ipol()
    assert not torch.equal(opencv(pair, PAIR), ipol(pair, PAIR))
    assert parameters(opencv) != parameters(ipol)


def test_a_drawn_database_is_encoded(tmp_path: Path) -> None:
    clips = write_and_read(tmp_path, subjects=2, clips_per_class=1, size=24)
    encoded = encode(clips, BiWOOF(blocks=3), progress=False)
    assert encoded.images.shape == (6, 72, 1, 1)
    assert_close(encoded.images.flatten(1).norm(dim=1), torch.ones(6))


def test_options_are_checked_when_it_is_built() -> None:
    for option in ("bins", "blocks"):
        with pytest.raises(MerError, match=rf"encoding\.{option}=0: give 1 or more"):
            BiWOOF(**{option: 0})  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"encoding\.reading='printed': choose one of released, described"):
        BiWOOF(reading="printed")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"encoding\.tvl1='cuda': choose one of opencv, ipol"):
        BiWOOF(tvl1="cuda")  # type: ignore[arg-type]


def test_a_clip_of_three_frames_is_refused() -> None:
    with pytest.raises(MerError, match="two frames a clip, onset and apex"):
        BiWOOF()(random_clips(1, 3), torch.tensor([3]))
