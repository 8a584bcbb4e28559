from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mer.augment import FixedPool, RandomAffine
from mer.data.encoded import EncodedSet
from mer.data.sequences import VideoData, VideoLabels, frame_truth
from mer.data.splits import Split
from mer.errors import MerError

LENGTHS = [10, 4, 25, 2, 16, 7]


def expressions(*rows: tuple[int, int, int | None, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["video", "onset", "apex", "offset"])
    return table.astype({"onset": "Int64", "apex": "Int64", "offset": "Int64"})


def labels() -> VideoLabels:
    """Videos 0 and 2 hold expressions, two in the second; frames are numbered from 100."""
    numbers = [np.arange(100, 100 + length) for length in LENGTHS]
    rows = expressions((0, 103, 105, 107), (2, 102, 104, 106), (2, 115, None, 118))
    return VideoLabels(numbers, rows, [1, 0, -1])


def videos() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "database": "drawn",
            "subject": [f"s{k // 2}" for k in range(6)],
            "clip": [f"v{k}" for k in range(6)],
            "label": "none",
        }
    )


def encoded() -> EncodedSet:
    """Every pixel of a frame is its position in the set, so that a batch says what was gathered."""
    images = torch.arange(sum(LENGTHS)).half()[:, None, None, None].expand(-1, 5, 4, 4)
    return EncodedSet(images, "content", Path("set"), torch.tensor(LENGTHS))


def data(**options: Any) -> VideoData:
    split = Split("drawn/s2", train=(0, 1, 2, 3), validation=(), test=(4, 5))
    split = options.pop("split", split)
    given = {"videos": videos(), "truth": frame_truth(labels()), "split": split}
    return VideoData(**given | {"encoded": encoded()} | options)


def batches(module: VideoData, epoch: int = 0) -> list[dict[str, Tensor]]:
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader)


def test_truth_of_every_frame() -> None:
    truth = frame_truth(labels())
    first = slice(0, 10)
    assert truth.inside[first].tolist() == [False] * 3 + [True] * 5 + [False] * 2
    assert truth.intensity[first].tolist() == [0, 0, 0, 0, 0.5, 1, 0.5, 0, 0, 0]
    assert truth.expression[first].tolist() == [-1] * 3 + [0] * 5 + [-1] * 2
    assert truth.target[first].tolist() == [-1] * 3 + [1] * 5 + [-1] * 2
    third = slice(14, 39)
    assert truth.expression[third].tolist() == [-1] * 2 + [1] * 5 + [-1] * 8 + [2] * 4 + [-1] * 6
    # Without an apex the intensity is undefined; without a class there is none.
    assert truth.intensity[third].isnan().nonzero()[:, 0].tolist() == [15, 16, 17, 18]
    assert truth.target[third][15:19].tolist() == [-1] * 4


def test_of_expressions_that_overlap_the_first_names_the_frame() -> None:
    both = VideoLabels([np.arange(10)], expressions((0, 1, 3, 5), (0, 4, 6, 8)), [0, 1])
    truth = frame_truth(both)
    assert truth.expression.tolist() == [-1, 0, 0, 0, 0, 0, 1, 1, 1, -1]
    assert truth.inside.tolist() == [False] + [True] * 8 + [False]
    assert truth.intensity[5] == 0.5  # the second's, which is higher there


def test_a_stretch_holds_neighbours_and_one_frame_more() -> None:
    truth = frame_truth(labels())
    for batch in batches(data(stretch=6, draws=20, batch_size=7)):
        place = batch["frames"][:, :, 0, 0, 0].long()
        assert place.shape[1] == 7
        for row in range(len(place)):
            video = int(np.searchsorted(np.cumsum(LENGTHS), int(place[row, 0]), side="right"))
            last = sum(LENGTHS[: video + 1]) - 1
            expected = torch.arange(int(place[row, 0]), int(place[row, 0]) + 7)
            assert torch.equal(place[row], expected.clamp(max=last))  # the last frame is repeated
            assert torch.equal(batch["real"][row], expected[:-1] <= last)
            for name in ("intensity", "inside", "expression", "target"):
                found, known = batch[name][row], getattr(truth, name)[place[row, :-1]]
                assert torch.equal(found.nan_to_num(9), known.nan_to_num(9))


def test_what_an_epoch_draws_depends_on_seed_fold_and_epoch() -> None:
    def drawn(module: VideoData, epoch: int) -> list[int]:
        return [int(k) for batch in batches(module, epoch) for k in batch["frames"][:, 0, 0, 0, 0]]

    one = drawn(data(draws=30, seed=3), 1)
    assert one == drawn(data(draws=30, seed=3), 1)
    assert one != drawn(data(draws=30, seed=3), 2)
    assert one != drawn(data(draws=30, seed=4), 1)
    other = Split("drawn/s9", train=(0, 1, 2, 3), validation=(), test=(4, 5))
    assert one != drawn(data(draws=30, seed=3, split=other), 1)
    assert one == drawn(data(draws=30, seed=3, batch_size=90), 1)


def test_each_training_video_is_drawn_as_often_and_no_other_is() -> None:
    found = [int(k) for batch in batches(data(draws=4, batch_size=5)) for k in batch["frames"][:, 0, 0, 0, 0]]
    which = np.searchsorted(np.cumsum(LENGTHS), found, side="right")
    assert np.bincount(which).tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("stretch", [3, 8])
def test_focus_is_the_part_of_the_draws_that_overlap_an_expression(stretch: int) -> None:
    truth = frame_truth(labels())

    def touching(focus: float) -> float:
        hits = []
        for batch in batches(data(draws=400, focus=focus, stretch=stretch)):
            place = batch["frames"][:, :-1, 0, 0, 0].long()
            long_video = (place[:, 0] >= 14) & (place[:, 0] < 39)
            hits += (truth.expression[place] >= 0).any(dim=1)[long_video].tolist()
        assert len(hits) == 400
        return float(np.mean(hits))

    assert touching(1.0) == 1
    assert touching(0.0) < touching(0.5) < 1


def test_augmentation_is_one_draw_for_all_frames_of_a_stretch() -> None:
    images = torch.rand(sum(LENGTHS), 5, 8, 8)[torch.zeros(sum(LENGTHS), dtype=torch.long)]
    same = EncodedSet(images, "content", Path("set"), torch.tensor(LENGTHS))
    (batch,) = batches(data(encoded=same, augment=RandomAffine(), batch_size=90, draws=2))
    frames = batch["frames"]
    assert torch.equal(frames, frames[:, :1].expand_as(frames))
    assert not torch.equal(frames[0], frames[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stretch": 0}, r"task\.stretch=0"),
        ({"draws": 0}, r"task\.draws=0"),
        ({"focus": 1.5}, r"task\.focus=1\.5"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"augment": FixedPool()}, "a pool of variants is for images"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        data(**options)


def test_a_set_of_images_is_refused() -> None:
    images = EncodedSet(torch.zeros(6, 3, 4, 4), "content", Path("set"))
    with pytest.raises(MerError, match="no encoded set of the 6 videos"):
        data(encoded=images)


def test_a_split_with_a_subject_on_both_sides_is_refused() -> None:
    with pytest.raises(MerError, match="drawn/s0"):
        data(split=Split("all", train=(0,), validation=(), test=(1,)))
