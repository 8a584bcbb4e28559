from typing import cast

import pandas as pd
import pytest

from mer.data.clips import validate
from mer.data.controls import Control, apply_control
from mer.errors import MerError


@pytest.fixture
def clips() -> pd.DataFrame:
    return validate(
        pd.DataFrame(
            [
                {"database": "d", "subject": f"s{k}", "clip": "c", "label": "ab"[k % 2], "frames": f"/f{k}"}
                for k in range(10)
            ]
        ).assign(onset=3, apex=7, offset=9, fps=None),
        "t",
    )


def test_none_leaves_the_table(clips: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(apply_control(clips, "none"), clips)


def test_shuffled_labels_moves_labels_and_nothing_else(clips: pd.DataFrame) -> None:
    before = clips.copy()
    got = apply_control(clips, "shuffled_labels", seed=1)
    assert got["label"].tolist() != clips["label"].tolist()
    assert sorted(got["label"]) == sorted(clips["label"])
    pd.testing.assert_frame_equal(got.drop(columns="label"), clips.drop(columns="label"))
    pd.testing.assert_frame_equal(got, apply_control(clips, "shuffled_labels", seed=1))
    assert got["label"].tolist() != apply_control(clips, "shuffled_labels", seed=2)["label"].tolist()
    pd.testing.assert_frame_equal(clips, before)


def test_onset_only_leaves_one_frame(clips: pd.DataFrame) -> None:
    got = apply_control(clips, "onset_only")
    assert got[["onset", "apex", "offset"]].to_numpy().tolist() == [[3, 3, 3]] * 10
    assert validate(got, "t").equals(got), "still a valid table"


def test_onset_only_needs_onset_frames(clips: pd.DataFrame) -> None:
    images = clips.rename(columns={"frames": "image"})
    with pytest.raises(MerError, match=r"data.control=onset_only needs clips with frames and onset numbers"):
        apply_control(images, "onset_only")
    with pytest.raises(MerError, match=r"data.control=onset_only needs"):
        apply_control(clips.assign(onset=pd.array([pd.NA] + [3] * 9, dtype="Int64")), "onset_only")


def test_an_unknown_control_lists_those_that_exist(clips: pd.DataFrame) -> None:
    with pytest.raises(MerError, match=r"data.control='x': choose none, shuffled_labels, onset_only"):
        apply_control(clips, cast(Control, "x"))
