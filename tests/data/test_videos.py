from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from torch import nn

from mer.data.clips import validate
from mer.data.encoding_batches import frame_numbers
from mer.data.findings import Finding
from mer.data.splits import loso
from mer.data.videos import Videos, find_videos, video_frames
from mer.errors import MerError
from tests.trees import write_frames

Ends = tuple[int | None, int | None, int | None]


def row(
    frames: Path | str,
    clip: str = "c1",
    numbers: Ends = (3, 5, 8),
    *,
    subject: str = "s1",
    label: str = "joy",
) -> dict[str, Any]:
    onset, apex, offset = numbers
    return {
        **{"database": "d", "subject": subject, "clip": clip, "label": label, "fps": 30.0},
        **{"onset": onset, "apex": apex, "offset": offset, "frames": str(frames)},
    }


def table(*rows: Mapping[str, Any]) -> pd.DataFrame:
    return validate(pd.DataFrame(list(rows)), "t")


def still_table(*rows: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).drop(columns=["label", "onset", "apex", "offset"])


def film(root: Path, name: str, numbers: range = range(1, 21)) -> Path:
    return write_frames(root / name, numbers, size=(4, 4))


def texts(findings: list[Finding]) -> list[tuple[str, str, str, str, bool]]:
    return [(f.clip, f.problem, f.outcome, f.action, f.known) for f in findings]


def listed(videos: Videos) -> list[tuple[object, ...]]:
    columns = ["video", "clip", "label", "onset", "apex", "offset"]
    frame = videos.expressions[columns].astype(object)
    return list(frame.where(frame.notna(), None).itertuples(index=False, name=None))


class WholeClips(nn.Module):
    reads = "clip"


def test_a_folder_each_gives_one_video_a_clip(tmp_path: Path) -> None:
    clips = table(
        row(film(tmp_path, "b"), "c2", label="awe"),
        row(film(tmp_path, "a", range(98, 112)), "c1", (100, 101, 105), subject="s2"),
    )
    videos = find_videos(clips)
    kept = ["database", "subject", "clip", "label", "fps", "frames"]
    pd.testing.assert_frame_equal(videos.table[kept], clips[kept])
    pd.testing.assert_frame_equal(videos.table, validate(videos.table, "t"))
    assert videos.table[["onset", "apex", "offset"]].isna().all(axis=None)
    assert listed(videos) == [(0, "c2", "awe", 3, 5, 8), (1, "c1", "joy", 100, 101, 105)]
    assert videos.findings == []
    assert [split.fold for split in loso(videos.table)] == ["d/s1", "d/s2"]


def test_clips_of_one_folder_are_one_video(tmp_path: Path) -> None:
    long = film(tmp_path, "15_0101teeth")
    clips = table(
        row(film(tmp_path, "z"), "a"),
        row(long, "b", (12, 13, 14), label="awe"),
        row(long, "c", (3, 5, 8)),
        row(long, "d", (16, 17, 18)),
    )
    videos = find_videos(clips)
    assert videos.table["clip"].tolist() == ["15_0101teeth", "a"]
    assert videos.table["label"].tolist() == ["several", "joy"]
    # In the order of their onsets, each pointing at its video in the sorted table.
    assert listed(videos) == [
        (0, "c", "joy", 3, 5, 8),
        (0, "b", "awe", 12, 13, 14),
        (0, "d", "joy", 16, 17, 18),
        (1, "a", "joy", 3, 5, 8),
    ]
    assert videos.expressions["video"].dtype == np.int64
    assert [str(videos.expressions[c].dtype) for c in ("onset", "apex", "offset")] == ["Int64"] * 3


def test_all_frames_of_a_video_are_its_frames(tmp_path: Path) -> None:
    """The same as an encoding reads; a gap in a folder stays, the frames of a file count from 1."""
    folder = film(tmp_path, "a", range(98, 112))
    (folder / "img103.png").unlink()
    path = tmp_path / "b.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    for grey in range(0, 60, 10):
        writer.write(np.full((32, 32, 3), grey, np.uint8))
    writer.release()
    videos = find_videos(
        table(
            row(folder, "c1", (100, 101, 105)),
            *(row(path, clip, (start, None, start + 1)) for clip, start in (("c2", 2), ("c3", 4))),
        )
    )
    assert videos.table["clip"].tolist() == ["b", "c1"]
    frames = video_frames(videos)
    assert [numbers.tolist() for numbers in frames] == [
        [1, 2, 3, 4, 5, 6],
        [98, 99, 100, 101, 102, *range(104, 112)],
    ]
    assert [numbers.dtype for numbers in frames] == [np.int64] * 2
    read = frame_numbers(videos.table, WholeClips())
    assert [list(numbers) for numbers in read] == [numbers.tolist() for numbers in frames]


def test_a_missing_onset_or_offset_is_the_first_or_last_frame(tmp_path: Path) -> None:
    folders = [film(tmp_path, name, range(98, 112)) for name in "abc"]
    numbers: list[Ends] = [(None, 101, 105), (100, 101, None), (None, None, None)]
    videos = find_videos(table(*(row(f, f.name, n) for f, n in zip(folders, numbers, strict=True))))
    assert [values[3:] for values in listed(videos)] == [(98, 101, 105), (100, 101, 111), (98, None, 111)]
    assert texts(videos.findings) == [
        (
            *("d/s1/c", "no apex, so its intensity is undefined"),
            *("used", "left out of the intensity loss only", True),
        )
    ]


def test_what_lies_outside_the_frames_is_cut_or_left_out(tmp_path: Path) -> None:
    a, b, c = (film(tmp_path, name) for name in "abc")
    d = film(tmp_path, "d", range(1, 31))
    for number in range(10, 20):
        (d / f"img{number}.png").unlink()
    videos = find_videos(
        table(
            row(a, "early", (0, 2, 5)),
            row(a, "late", (15, 25, 30)),
            row(b, "after", (21, 22, 23)),
            row(c, "one", (20, 22, 23)),
            row(d, "gap", (12, 14, 16)),
            row(d, "there", (21, 22, 23)),
        )
    )
    assert texts(videos.findings) == [
        (
            *("d/s1/after", "21 to 23, but the frames that are there are 1 to 20, none of them in it"),
            *("left out", "correct the row or add frames", False),
        ),
        (
            *("d/s1/early", "0 to 5, but the frames that are there are 1 to 20"),
            *("corrected", "cut to 1 to 5", False),
        ),
        (
            *("d/s1/late", "15 to 30, but the frames that are there are 1 to 20"),
            *("corrected", "cut to 15 to 20, without its apex", False),
        ),
        (
            *("d/s1/late", "no apex, so its intensity is undefined"),
            *("used", "left out of the intensity loss only", True),
        ),
        (
            *("d/s1/gap", "12 to 16, but the frames that are there are 1 to 30, none of them in it"),
            *("left out", "correct the row or add frames", False),
        ),
        (
            *("d/s1/one", "20 to 23, but the frames that are there are 1 to 20"),
            *("corrected", "cut to 20 to 20, without its apex", False),
        ),
    ]
    assert [finding.place for finding in videos.findings] == [str(f) for f in (b, a, a, a, d, c)]
    # A video whose expressions are all left out holds none; one that was shared keeps its folder's name.
    names = dict(zip(videos.table["clip"], videos.table["label"], strict=True))
    assert names == {"a": "several", "after": "none", "d": "joy", "one": "joy"}
    assert [values[1] for values in listed(videos)] == ["early", "late", "there", "one"]
    assert listed(videos)[3][3:] == (20, None, 20)


def test_expressions_that_overlap_are_both_kept_and_told(tmp_path: Path) -> None:
    long = film(tmp_path, "a")
    clips = table(row(long, "x", (2, 4, 15)), row(long, "y", (4, 5, 6)), row(long, "z", (15, 16, 17)))
    videos = find_videos(clips)
    rest = ("used", "both; the intensity is the higher of the two", False)
    assert texts(videos.findings) == [
        ("d/s1/y", "overlaps d/s1/x: 4 to 6 and 2 to 15", *rest),
        ("d/s1/z", "overlaps d/s1/x: 15 to 17 and 2 to 15", *rest),
    ]
    assert len(videos.expressions) == 3


def test_a_video_of_one_frame_is_left_out_and_named(tmp_path: Path) -> None:
    one = film(tmp_path, "one", range(5, 6))
    videos = find_videos(table(row(one, "c1", (5, 5, 5)), row(film(tmp_path, "a"), "c2")))
    assert texts(videos.findings) == [
        (
            *("d/s1/c1", "1 frame in this video (c1), which shows no change"),
            *("left out", "give the frames around it too", False),
        )
    ]
    assert videos.table["clip"].tolist() == ["c2"]
    assert listed(videos) == [(0, "c2", "joy", 3, 5, 8)]
    with pytest.raises(MerError, match=r"no video has two frames or more; the first: .*/one: d/s1/c1"):
        find_videos(table(row(one, "c1", (5, 5, 5))))


def test_still_videos_hold_no_expression(tmp_path: Path) -> None:
    clips = table(row(film(tmp_path, "a"), "c1")).assign(cropped=False, landmarks="/points.txt")
    still = still_table(row(film(tmp_path, "b"), "c0"), row(film(tmp_path, "e"), "c1", subject="s2"))
    videos = find_videos(clips, still)
    assert videos.table["clip"].tolist() == ["c0", "c1", "c1"]
    assert videos.table["label"].tolist() == ["none", "joy", "none"]
    assert videos.table["cropped"].tolist() == [True, False, True]
    assert videos.table["landmarks"].fillna("").tolist() == ["", "/points.txt", ""]
    assert listed(videos) == [(1, "c1", "joy", 3, 5, 8)]
    with pytest.raises(MerError, match=r"/a: d/s1/c1 lies in this folder, which is known to hold no"):
        find_videos(clips, still_table(row(tmp_path / "a", "c0")))
    with pytest.raises(MerError, match=r"the table of still videos lacks the column\(s\) fps"):
        find_videos(clips, still.drop(columns="fps"))


def test_no_expression_at_all_gives_an_empty_table_of_the_same_types(tmp_path: Path) -> None:
    some = find_videos(table(row(film(tmp_path, "a"), "c1")))
    none = find_videos(table(row(tmp_path / "a", "c1", (30, 31, 32))))
    assert len(none.expressions) == 0
    assert none.table["label"].tolist() == ["none"]
    for name in ("video", "onset", "apex", "offset"):
        assert none.expressions[name].dtype == some.expressions[name].dtype


def test_videos_of_one_name_are_numbered(tmp_path: Path) -> None:
    one, other, named = film(tmp_path, "1/v"), film(tmp_path, "2/v"), film(tmp_path, "w")
    videos = find_videos(
        table(
            *(row(one, f"a{n}", (n, n, n)) for n in (2, 3)),
            *(row(other, f"b{n}", (n, n, n)) for n in (2, 3)),
            row(named, "v"),
        )
    )
    assert dict(zip(videos.table["clip"], videos.table["frames"], strict=True)) == {
        "v": str(named),  # a clip keeps its name
        "v-2": str(one),
        "v-3": str(other),
    }


def test_a_folder_of_two_subjects_is_refused(tmp_path: Path) -> None:
    folder = film(tmp_path, "a")
    first, second = row(folder, "c1"), row(folder, "c2", (10, 11, 12))
    with pytest.raises(MerError, match=r"/a: d/s1/c1 and d/s2/c2 lie in .* differ in subject \(s1, s2\)"):
        find_videos(table(first, second | {"subject": "s2"}))
    with pytest.raises(MerError, match=r"differ in fps \(30.0, 200.0\); correct the row that is wrong"):
        find_videos(table(first, second | {"fps": 200.0}))
    with pytest.raises(MerError, match=r"differ in cropped \(True, False\)"):
        find_videos(table(first | {"cropped": True}, second | {"cropped": False}))


def test_frames_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="nowhere: no such folder of frames"):
        find_videos(table(row(tmp_path / "nowhere")))
    images = table(row("/i.png")).rename(columns={"frames": "image"})
    with pytest.raises(MerError, match="these clips are encoded images"):
        find_videos(images)
