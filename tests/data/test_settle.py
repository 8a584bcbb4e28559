"""Every row is used, corrected or left out, and the finding names the row and the reason."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.data.settle import MISSING_APEX, corrections, settle
from mer.data.standins.tree import write_frames
from mer.errors import MerError

SIDE = 16


def frames(root: Path, name: str, first: int = 10, last: int = 20, side: int = SIDE) -> str:
    noise = np.random.default_rng(0).integers(0, 255, (last - first + 1, side, side), np.uint8)
    write_frames(root / name, "img{}.png", noise, first)
    return str(root / name)


def row(
    folder: str, onset: object = 10, apex: object = 15, offset: object = 20, **other: object
) -> dict[str, object]:
    name = Path(folder).name
    values = {"subject": "s1", "clip": name, "label": "joy", "onset": onset, "apex": apex, "offset": offset}
    return {**values, "frames": folder, "cropped": True, **other}


def settled(root: Path, rows: list[dict[str, object]], **options: object) -> tuple[pd.DataFrame, list[str]]:
    table = pd.DataFrame(rows)
    table["row"] = range(2, len(table) + 2)
    clips, findings, *_ = settle(table, source=root / "sheet.xlsx", database="db", fps=200, **options)  # type: ignore[arg-type]
    return clips, [str(finding).removeprefix(f"{root}/") for finding in findings]


def test_a_sound_row_is_used_as_it_is(tmp_path: Path) -> None:
    clips, findings = settled(tmp_path, [row(frames(tmp_path, "c1"), "10", 15.0, "20")])
    assert findings == []
    only = clips.iloc[0]
    assert (only["database"], only["subject"], only["clip"], only["fps"]) == ("db", "s1", "c1", 200)
    assert (only["onset"], only["apex"], only["offset"]) == (10, 15, 20)


@pytest.mark.parametrize("mark", ["/", "\\", "?", "x12", "-3", "1.5"])
def test_a_mark_in_place_of_a_frame_number_is_told(tmp_path: Path, mark: str) -> None:
    clips, findings = settled(tmp_path, [row(frames(tmp_path, "c1"), mark, mark, mark)])
    # By the frames that are there; the apex stays missing.
    assert clips[["onset", "apex", "offset"]].iloc[0].isna().tolist() == [False, True, False]
    assert (clips["onset"][0], clips["offset"][0]) == (10, 20)
    assert findings == [
        f"sheet.xlsx, row 2: db/s1/c1: onset '{mark}' is no frame number; used: from the first frame on",
        f"sheet.xlsx, row 2: db/s1/c1: apex '{mark}' is no frame number; used: {MISSING_APEX}",
        f"sheet.xlsx, row 2: db/s1/c1: offset '{mark}' is no frame number; used: up to the last frame",
    ]


def test_all_that_is_wrong_is_listed_not_only_the_first(tmp_path: Path) -> None:
    sound = row(frames(tmp_path, "sound"))
    (tmp_path / "empty").mkdir()
    rows = [
        sound,
        row(frames(tmp_path, "backwards"), 20, 15, 10),
        row(frames(tmp_path, "outside"), 10, 25, 20),
        row(str(tmp_path / "nowhere")),
        row(str(tmp_path / "empty")),
        row(frames(tmp_path, "elsewhere"), 110, 115, 120),
        row(frames(tmp_path, "unlabelled"), label=None),
        row(frames(tmp_path, "twice")),
        row(frames(tmp_path, "twice")),
        row(frames(tmp_path, "disputed")),
        row(frames(tmp_path, "disputed"), label="fear"),
        row(frames(tmp_path, "late", 12, 18)),
    ]
    extra = tmp_path / "unnamed"
    clips, findings = settled(tmp_path, rows, folders=[tmp_path / "sound", extra])
    assert clips["clip"].tolist() == ["late", "outside", "sound", "twice"]
    assert clips.set_index("clip")["apex"].isna().to_dict() == {
        "late": False,
        "outside": True,
        "sound": False,
        "twice": False,
    }
    assert sorted(findings) == sorted(
        [
            "sheet.xlsx, row 3: db/s1/backwards: onset 20 after offset 10; left out: correct the row",
            "sheet.xlsx, row 4: db/s1/outside: apex 25 outside the clip, 10 to 20; corrected: "
            + MISSING_APEX,
            f"sheet.xlsx, row 5: db/s1/nowhere: {tmp_path}/nowhere: no such folder; left out: restore it, or "
            "remove the row",
            f"sheet.xlsx, row 6: db/s1/empty: {tmp_path}/empty: no frame in this folder; it should hold "
            "files that end in .jpg .jpeg .png .bmp; left out: restore the files, or remove the row",
            f"sheet.xlsx, row 7: db/s1/elsewhere: {tmp_path}/elsewhere: no frame between onset 110 and "
            "offset 120, it has 10 to 20; left out: correct the row",
            "sheet.xlsx, row 8: db/s1/unlabelled: no label; left out: fill it in",
            "sheet.xlsx, row 10: db/s1/twice: the same row again; corrected: used once",
            "sheet.xlsx, row 11: db/s1/disputed: 2 rows that differ; left out: keep the right one",
            "sheet.xlsx, row 12: db/s1/disputed: 2 rows that differ; left out: keep the right one",
            "sheet.xlsx, row 13: db/s1/late: no frame for the onset 10; corrected: now 12",
            "sheet.xlsx, row 13: db/s1/late: no frame for the offset 20; corrected: now 18",
            "unnamed: a folder that no row of sheet.xlsx names; left out: add its row, if it should be used",
        ]
    )


def test_gaps_are_told_and_a_missing_apex_frame_becomes_the_nearest(tmp_path: Path) -> None:
    folder = frames(tmp_path, "c1")
    for number in (13, 15, 16):
        (Path(folder) / f"img{number}.png").unlink()
    clips, findings = settled(tmp_path, [row(folder)])
    assert clips["apex"][0] == 14
    assert findings == [
        "sheet.xlsx, row 2: db/s1/c1: 3 frame(s) missing between onset and offset, such as 13; used: without "
        "them",
        "sheet.xlsx, row 2: db/s1/c1: no frame for the apex 15; corrected: now 14",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda content: content[: len(content) // 2], "img13.png is cut short"),
        (lambda _: b"no image", "img13.png is no image (UnidentifiedImageError)"),
    ],
)
def test_damaged_frames_leave_the_clip_out_only_where_they_are_used(
    tmp_path: Path, content: object, problem: str
) -> None:
    damaged, spared = frames(tmp_path, "c1"), frames(tmp_path, "c2")
    for folder in (damaged, spared):
        path = Path(folder) / "img13.png"
        path.write_bytes(content(path.read_bytes()))  # type: ignore[operator]
    clips, findings = settled(tmp_path, [row(damaged), row(spared, 14, 15, 20)])
    assert clips["clip"].tolist() == ["c2"]
    assert findings == [
        f"sheet.xlsx, row 2: db/s1/c1: {damaged}: {problem}; left out: replace the file, or remove the row"
    ]


def test_frames_of_two_sizes_name_the_odd_one(tmp_path: Path) -> None:
    folder = frames(tmp_path, "c1")
    frames(tmp_path, "c1", 17, 17, side=24)
    _, findings = settled(tmp_path, [row(folder), row(frames(tmp_path, "c2"))])
    assert findings[0].split(": ")[3] == "img17.png is 24x24, the other frames are 16x16; left out"


def test_nothing_left_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    with pytest.raises(
        MerError, match=r"sheet.xlsx: none of 1 clips can be used; the first reason: .*no such folder"
    ):
        settled(tmp_path, [row(str(tmp_path / "c1"))])


def test_every_correction_has_a_reason_and_its_own_key() -> None:
    names = {"casme", "casme2", "casme_sq", "samm", "smic", "ckplus"}
    table = [fix for name in sorted(names) for fix in corrections(name)]
    assert (
        len(table)
        == len({(fix["database"], fix["subject"], fix["clip"], fix["column"]) for fix in table})
        >= 6
    )
    for fix in table:
        assert fix["reason"]
        assert fix["column"] in ("onset", "apex", "offset", "label", "frames")


def test_a_correction_applies_only_to_what_the_release_says(tmp_path: Path) -> None:
    """SAMM's 013_1_9: 5739 is 5793 with digits exchanged; a sheet that says another number is believed."""
    for offset, expected, told in ((5739, 5793, 1), (5790, 5790, 0)):
        root = tmp_path / str(offset)
        folder = frames(root, "013_1_9", 5780, 5793)
        table = pd.DataFrame([row(folder, 5780, 5785, offset, subject="013")])
        clips, findings, *_ = settle(table, source=root, database="samm", fps=200)
        assert clips["offset"][0] == expected
        assert [finding.known for finding in findings] == [True] * told


def test_a_gap_of_any_size_is_counted_at_once(tmp_path: Path) -> None:
    folder = frames(tmp_path, "c1")
    Path(folder, "img20.png").rename(Path(folder, "img900000000000000.png"))
    _, findings = settled(tmp_path, [row(folder, None, None, None)])
    assert "899999999999980 frame(s) missing between onset and offset, such as 20; used" in findings[0]


@pytest.mark.parametrize("name", ["../s2", "a/b", "..", "/etc", "a\\b", "a\nb"])
@pytest.mark.parametrize("column", ["subject", "clip"])
def test_a_name_that_leads_elsewhere_or_cannot_be_printed_is_left_out(
    tmp_path: Path, name: str, column: str
) -> None:
    rows = [row(frames(tmp_path, "sound")), row(frames(tmp_path, "c1"), **{column: name})]
    clips, findings = settled(tmp_path, rows)
    assert clips["clip"].tolist() == ["sound"]
    assert f"db/{'s1' if column == 'clip' else ''}" in findings[0]
    assert f": the {column} " in findings[0]
    assert "left out: rename it" in findings[0]
    assert "\n" not in findings[0]


def test_a_name_that_is_too_long_for_the_disk_is_left_out(tmp_path: Path) -> None:
    rows = [row(frames(tmp_path, "sound")), row(str(tmp_path / ("x" * 300)))]
    clips, findings = settled(tmp_path, rows)
    assert clips["clip"].tolist() == ["sound"]
    assert "no such folder; left out" in findings[0]
