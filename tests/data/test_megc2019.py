import re
import shutil
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from mer.data import casme2, megc2019_uvos, samm, smic
from mer.data.clips import class_counts, count_mismatch
from mer.data.label_sets import labels_of
from mer.data.megc2019 import PUBLISHED_COUNTS, read_clips, without_apex
from mer.data.standins import is_standin, write_standin
from mer.errors import MerError

KEY = ["database", "subject", "clip"]
DATABASES = ("casme2", "samm", "smic")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("megc2019", tmp_path_factory.mktemp("full") / "megc2019", full=True, size=16)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("megc2019", tmp_path_factory.mktemp("small") / "megc2019", size=16)


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(small, tmp_path / "megc2019")


def roots(root: Path) -> dict[str, Any]:
    return {database: root / database for database in DATABASES}


def keys(clips: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(clips[KEY].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def clips(full: Path) -> pd.DataFrame:
    """The composite of the full stand-in, of original frames."""
    return read_clips(**roots(full), frames="original").clips


@pytest.fixture(scope="module")
def whole(full: Path) -> pd.DataFrame:
    """The three databases with their own labels."""
    readings = (
        casme2.read_clips(full / "casme2", frames="original"),
        samm.read_clips(full / "samm", frames="original"),
        smic.read_clips(full / "smic", frames="original"),
    )
    return pd.concat([reading.clips for reading in readings], ignore_index=True)


def test_the_full_composite_has_the_published_counts(clips: pd.DataFrame) -> None:
    assert class_counts(clips).to_dict("index") == PUBLISHED_COUNTS
    assert count_mismatch(clips, PUBLISHED_COUNTS) == ""
    assert len(clips) == 442
    assert len(clips[["database", "subject"]].drop_duplicates()) == 68
    assert clips["label"].value_counts().to_dict() == {"negative": 250, "positive": 109, "surprise": 83}


def test_every_clip_that_is_left_out_is_left_out_by_rule(clips: pd.DataFrame, whole: pd.DataFrame) -> None:
    assert keys(clips) < keys(whole)
    gone = whole[~whole.set_index(KEY).index.isin(clips.set_index(KEY).index)]
    by_label = gone[
        (gone["database"] == "casme2") & gone["label"].isin(["others", "sadness", "fear"])
        | (gone["database"] == "samm") & (gone["label"] == "other")
    ]
    assert keys(gone) - keys(by_label) == {
        ("casme2", "sub04", "EP12_01f"),
        ("casme2", "sub05", "EP09_05f"),
    }
    assert len(by_label) == 99 + 7 + 2 + 26
    subjects = [set(zip(table["database"], table["subject"], strict=True)) for table in (whole, clips)]
    assert subjects[0] - subjects[1] == {("casme2", "sub10"), ("casme2", "sub18"), ("samm", "025")}


def test_each_label_becomes_its_class(clips: pd.DataFrame, whole: pd.DataFrame) -> None:
    classes = clips.merge(whole, on=KEY, suffixes=("", "_was")).groupby(["database", "label"])["label_was"]
    assert {key: set(labels) for key, labels in classes.unique().items()} == {
        ("casme2", "negative"): {"disgust", "repression"},
        ("casme2", "positive"): {"happiness"},
        ("casme2", "surprise"): {"surprise"},
        ("samm", "negative"): {"anger", "contempt", "disgust", "fear", "sadness"},
        ("samm", "positive"): {"happiness"},
        ("samm", "surprise"): {"surprise"},
        **{("smic", label): {label} for label in smic.LABELS},
    }


def test_the_two_clips_follow_from_the_corrections() -> None:
    assert without_apex() == [("sub04", "EP12_01f"), ("sub05", "EP09_05f")]


def test_the_cropped_frames_are_taken_where_they_are(full: Path) -> None:
    reading = read_clips(**roots(full))
    assert count_mismatch(reading.clips, PUBLISHED_COUNTS) == ""
    assert reading.clips.groupby("database")["cropped"].unique().map(list).to_dict() == {
        "casme2": [True],
        "samm": [False],
        "smic": [True, False],  # one clip has no cropped frame
    }
    expected = [
        *casme2.read_clips(full / "casme2").findings,
        *samm.read_clips(full / "samm").findings,
        *smic.read_clips(full / "smic").findings,
    ]
    assert reading.findings == expected
    assert {finding.clip.partition("/")[0] for finding in expected} == set(DATABASES)


def test_frames_and_numbers_are_those_of_the_databases(clips: pd.DataFrame, whole: pd.DataFrame) -> None:
    kept = whole.set_index(KEY).loc[clips.set_index(KEY).index].reset_index()
    pd.testing.assert_frame_equal(clips.drop(columns="label"), kept.drop(columns="label"))
    assert clips.loc[clips["database"] == "samm", "apex"].isna().sum() == 2, "028_4_1 and 032_3_1 stay"


def test_clips_are_named_as_the_published_flow_images(clips: pd.DataFrame, megc2019_uvos: Path) -> None:
    published = uvos(megc2019_uvos)
    for database in DATABASES:
        ours, theirs = (table[table["database"] == database] for table in (clips, published))
        assert {shape(name) for name in ours["clip"]} <= {shape(name) for name in theirs["clip"]}
        assert set(ours["subject"]) == set(theirs["subject"])
    assert keys(clips[clips["database"] == "smic"]) == keys(published[published["database"] == "smic"])
    rules = {("casme2", *key) for key in without_apex()}
    corrected = {("samm", "013", "013_1_9"), ("samm", "028", "028_4_1"), ("samm", "032", "032_3_1")}
    assert rules.isdisjoint(keys(published))
    assert corrected <= keys(published)


def uvos(root: Path) -> pd.DataFrame:
    return megc2019_uvos.read_clips(root)


def shape(name: str) -> str:
    return re.sub("[0-9]+", "9", name)


def test_a_blank_apex_of_a_later_sheet_leaves_no_clip_out(root: Path) -> None:
    before = read_clips(**roots(root), frames="original").clips
    path = root / "casme2/CASME2-coding-20140508.xlsx"
    book = openpyxl.load_workbook(path)
    header = [cell.value for cell in book.active[1]]
    blank = next(
        row
        for row in book.active.iter_rows(min_row=2)
        if row[header.index("Estimated Emotion")].value == "happiness"
    )
    blank[header.index("ApexFrame")].value = None
    book.save(path)
    after = read_clips(**roots(root), frames="original").clips
    assert keys(after) == keys(before)
    assert after["apex"].isna().sum() == before["apex"].isna().sum() + 1


def test_the_folders_may_come_from_the_environment(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = read_clips(**roots(small))
    for database in DATABASES:
        monkeypatch.setenv(f"MER_ROOT_{database.upper()}", str(small / database))
    found = read_clips()
    pd.testing.assert_frame_equal(found.clips, named.clips)
    assert found.findings == named.findings


def test_the_folder_that_is_missing_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match=r"smic: its folder is not known; .*MER_ROOT_SMIC"):
        read_clips(casme2=root / "casme2", samm=root / "samm")
    with pytest.raises(MerError, match=r"gone: no such folder .* it should be the folder of samm"):
        read_clips(**roots(root) | {"samm": root / "gone"})
    with pytest.raises(MerError, match=r"data.clips.frames='long': choose auto, cropped, original"):
        read_clips(**roots(root), frames="long")
    shutil.rmtree(root / "samm/SAMM")
    with pytest.raises(MerError, match=r"samm: no folder of frames"):
        read_clips(**roots(root))


def test_the_config_has_the_classes_of_the_table(small: Path) -> None:
    classes, label_map = labels_of("megc2019")
    assert classes == list(megc2019_uvos.LABELS.values())
    assert label_map == {name: name for name in classes}
    assert set(read_clips(**roots(small)).clips["label"]) == set(classes)


def test_the_stand_ins_say_what_they_are(small: Path) -> None:
    assert all(is_standin(small / database) for database in DATABASES)
    assert is_standin(small)
