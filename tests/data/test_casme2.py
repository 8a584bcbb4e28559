"""CASME II: the sheet as released, both layouts, each quirk."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.data import casme2
from mer.data.clips import count_mismatch, map_labels
from mer.data.findings import Reading
from mer.data.label_sets import labels_of
from mer.data.standins import write_standin
from mer.errors import MerError
from mer.packaged import config_dir


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("casme2", tmp_path_factory.mktemp("casme2") / "root", size=16)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return casme2.read_clips(
        write_standin("casme2", tmp_path_factory.mktemp("full") / "root", full=True, size=16)
    )


def test_counts_are_the_published_ones(full: Reading) -> None:
    assert len(full.clips) == 255
    assert count_mismatch(full.clips, casme2.PUBLISHED_COUNTS) == ""
    assert all(finding.known for finding in full.findings)


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (
            "5class",
            {"happiness": 32, "disgust": 63, "surprise": 25, "repression": 27, "others": 99},
        ),  # 246 clips
        ("4class", {"positive": 32, "negative": 72, "surprise": 25, "others": 126}),
        ("3class", {"negative": 90, "positive": 32, "surprise": 25}),
    ],
)
def test_label_sets_give_the_counts_of_the_papers(full: Reading, labels: str, counts: dict[str, int]) -> None:
    classes, label_map = labels_of("casme2", labels)
    assert classes is not None
    assert label_map is not None
    mapped = map_labels(full.clips, label_map, classes, "casme2")
    assert mapped["label"].value_counts().to_dict() == counts
    assert set(classes) == set(counts)


def test_every_set_names_every_emotion() -> None:
    sets = OmegaConf.load(config_dir() / "data/casme2.yaml").label_sets
    emotions = set(casme2.PUBLISHED_COUNTS["casme2"]) - {"subjects"}
    assert {name: set(given["map"]) for name, given in sets.items()} == dict.fromkeys(sets, emotions)


def test_both_layouts_give_the_same_clips(root: Path) -> None:
    cropped, original = (casme2.read_clips(root, frames=layout).clips for layout in ("cropped", "original"))
    key = ["database", "subject", "clip", "label", "onset", "offset", "fps"]
    assert cropped[key].equals(original[key])
    assert cropped["cropped"].all()
    assert not original["cropped"].any()
    assert casme2.read_clips(root).clips.equals(cropped)


def test_quirks(root: Path) -> None:
    clips, findings, *_ = casme2.read_clips(root)
    numbers = {(row.subject, row.clip): (row.onset, row.apex, row.offset) for row in clips.itertuples()}
    assert [key for key, (_, apex, _) in numbers.items() if apex is pd.NA] == [
        ("sub04", "EP12_01f"),  # '/'
        ("sub05", "EP09_05f"),  # the onset
    ]
    assert numbers["sub05", "EP16_04f"] == (91, 99, 99)  # the apex is the offset: legitimate
    assert numbers["sub12", "EP09_06"] == (95, 103, 103)
    lacking = [finding for finding in findings if finding.clip == "casme2/sub16/EP01_08"]
    assert [finding.problem for finding in lacking] == [
        "2 frame(s) missing between onset and offset, such as 99",
        "no frame for the apex 100",
    ]
    assert all(finding.known for finding in findings)
    assert {finding.outcome for finding in findings} == {"corrected", "used"}


def test_subjects_of_later_sheets_are_integers() -> None:
    assert [casme2.subject_name(cell) for cell in ("1", "01", "sub01", "26", None)] == [
        *["sub01"] * 3,
        "sub26",
        "",
    ]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"no annotation file \(CASME2-coding\*.xlsx"):
        casme2.read_clips(tmp_path)
    shutil.copy(root / "CASME2-coding-20140508.xlsx", tmp_path)
    with pytest.raises(MerError, match=r"no folder of frames; looked for Cropped, CASME2_RAW_selected"):
        casme2.read_clips(tmp_path)
