"""CK+: labels in files, landmarks, the ways in which the release is unpacked, what is wrong with a tree."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.data import ckplus
from mer.data.clips import count_mismatch, map_labels
from mer.data.faces import FaceOptions, locate_all
from mer.data.findings import Finding, Reading
from mer.data.label_sets import labels_of
from mer.data.landmarks import read_landmarks
from mer.data.standins import write_standin
from mer.errors import MerError
from mer.packaged import config_dir
from tests.trees import write_frames


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_standin("ckplus", tmp_path_factory.mktemp("ckplus") / "root", size=32)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return ckplus.read_clips(
        write_standin("ckplus", tmp_path_factory.mktemp("full") / "root", full=True, size=16)
    )


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    return shutil.copytree(root, tmp_path / "ckplus")


def label(root: Path, clip: str, text: str = "   3.0000000e+00\n", frame: int = 3, name: str = "") -> Path:
    """Write the emotion file of a sequence such as S900/001."""
    name = name or f"{clip.replace('/', '_')}_{frame:08d}_emotion.txt"
    path = root / "Emotion" / clip / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def sequence(root: Path, clip: str) -> Path:
    """Write three frames of a sequence."""
    name = f"{clip.replace('/', '_')}_{{:08d}}.png"
    return write_frames(root / "cohn-kanade-images" / clip, range(1, 4), name=name)


def of_clip(reading: Reading, clip: str) -> Finding:
    (finding,) = [finding for finding in reading.findings if finding.clip == f"ckplus/{clip}"]
    return finding


def test_counts_are_the_published_ones(full: Reading) -> None:
    assert len(full.clips) == 327
    assert count_mismatch(full.clips, ckplus.PUBLISHED_COUNTS) == ""


def test_sequences_without_a_label_are_one_known_finding(full: Reading) -> None:
    (finding,) = full.findings
    assert finding.known
    assert finding.outcome == "left out"
    assert finding.problem.startswith("266 of 593 sequences have no label, such as S005/")


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (
            "original",
            {
                "anger": 45,
                "contempt": 18,
                "disgust": 59,
                "fear": 25,
                "happy": 69,
                "sadness": 28,
                "surprise": 83,
            },
        ),
        ("3class", {"negative": 175, "positive": 69, "surprise": 83}),
    ],
)
def test_label_sets_give_the_published_counts(full: Reading, labels: str, counts: dict[str, int]) -> None:
    classes, label_map = labels_of("ckplus", labels)
    assert classes is not None
    assert label_map is not None
    assert map_labels(full.clips, label_map, classes, "t")["label"].value_counts().to_dict() == counts
    assert set(classes) == set(counts)


def test_every_set_names_every_emotion() -> None:
    sets = OmegaConf.load(config_dir() / "data/ckplus.yaml").label_sets
    emotions = set(ckplus.LABELS.values())
    assert emotions == set(ckplus.PUBLISHED_COUNTS["ckplus"]) - {"subjects"}
    assert {name: set(given["map"]) for name, given in sets.items()} == dict.fromkeys(sets, emotions)


def test_a_clip_goes_from_its_first_frame_to_its_last(root: Path) -> None:
    clips, findings = ckplus.read_clips(root)[:2]
    assert [finding.problem for finding in findings] == ["5 of 19 sequences have no label, such as S005/005"]
    assert clips["subject"].unique().tolist() == ["S005", "S010", "S015", "S020"]
    assert clips["clip"].tolist()[:2] == ["001", "002"]
    for row in clips.to_dict("records"):
        name = f"{row['subject']}_{row['clip']}_"
        last = len(list(Path(row["frames"]).glob("*.png")))
        assert [row[name] for name in ("onset", "apex", "offset", "fps", "cropped")] == [
            1,
            last,
            last,
            30,
            False,
        ]
        (emotion,) = (root / "Emotion" / row["subject"] / row["clip"]).glob("*.txt")
        assert emotion.name == f"{name}{last:08d}_emotion.txt"
        assert ckplus.LABELS[int(float(emotion.read_text()))] == row["label"]
        assert (
            Path(row["landmarks"])
            == root / "Landmarks" / row["subject"] / row["clip"] / f"{name}00000001_landmarks.txt"
        )


def test_frames_are_grey_and_in_colour_and_of_two_sizes(root: Path) -> None:
    # 640x480 and 640x490 in the release.
    images = [
        cv2.imread(str(next(Path(frames).glob("*.png"))), cv2.IMREAD_UNCHANGED)
        for frames in ckplus.read_clips(root).clips["frames"]
    ]
    assert {image.shape for image in images if image is not None} == {
        (48, 64),
        (49, 64),
        (48, 64, 3),
        (49, 64, 3),
    }


def test_the_landmarks_are_where_the_drawn_eyes_are(root: Path) -> None:
    clips = ckplus.read_clips(root).clips
    faces = locate_all(clips, FaceOptions(method="landmarks"), progress=False)
    assert {face.method for face in faces} == {"landmarks"}
    for row in clips.to_dict("records"):
        points = read_landmarks(Path(row["landmarks"]))
        assert points.shape == (68, 2)
        image = cv2.imread(
            f"{row['frames']}/{row['subject']}_{row['clip']}_00000001.png", cv2.IMREAD_GRAYSCALE
        )
        assert image is not None
        for eye in (points[36:42], points[42:48]):
            x, y = np.rint(eye.mean(0)).astype(int)
            patch = image[y - 1 : y + 2, x - 1 : x + 2]
            # The iris is darker than the cheek below it, at any skin.
            assert patch.min() < image[y + 4 : y + 6, x - 1 : x + 2].mean() - 25


def test_hidden_files_of_a_mac_are_passed_over(root: Path) -> None:
    assert len(list(root.rglob(".DS_Store"))) == 4
    assert all(".DS_Store" not in str(finding) for finding in ckplus.read_clips(root).findings)


def test_hidden_twins_of_the_emotion_files_are_passed_over(copy: Path) -> None:
    before = ckplus.read_clips(copy)
    for path in list((copy / "Emotion").rglob("*.txt")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    after = ckplus.read_clips(copy)
    pd.testing.assert_frame_equal(after.clips, before.clips)
    assert after.findings == before.findings


def test_each_zip_unpacked_into_a_folder_of_its_name(root: Path, copy: Path) -> None:
    moved = {
        "cohn-kanade-images": "extended-cohn-kanade-images/cohn-kanade-images",
        "Emotion": "Emotion_labels/Emotion",
        "Landmarks": "Landmarks/Landmarks",
    }
    for name, place in moved.items():
        (copy / name).rename(copy / "moving")
        (copy / place).parent.mkdir()
        (copy / "moving").rename(copy / place)
        # What a Mac's archives hold beside: the same tree of files that are none.
        twin = copy / "__MACOSX" / name / "S005/001"
        twin.mkdir(parents=True)
        (twin / "._S005_001_00000001.png").write_bytes(b"\0\5\x16\7")
    got, expected = ckplus.read_clips(copy), ckplus.read_clips(root)
    pd.testing.assert_frame_equal(
        got.clips.drop(columns=["frames", "landmarks"]), expected.clips.drop(columns=["frames", "landmarks"])
    )
    assert got.clips["frames"][0] == str(copy / "extended-cohn-kanade-images/cohn-kanade-images/S005/001")
    assert got.clips["landmarks"][0].startswith(str(copy / "Landmarks/Landmarks/S005/001/"))
    assert [finding.problem for finding in got.findings] == [finding.problem for finding in expected.findings]


def test_the_root_may_be_the_folder_around_the_release(copy: Path) -> None:
    assert len(ckplus.read_clips(copy.parent).clips) == 14


def test_what_is_wrong_with_labels_is_told_of_each(copy: Path) -> None:
    wrong = ("happy", "0.0000000e+00", "8", "3.5", "", "nan", "3 3")
    texts = {f"{number:03d}": text for number, text in enumerate(wrong, 1)}
    for clip, text in texts.items():
        label(copy, f"S900/{clip}", text)
        sequence(copy, f"S900/{clip}")
    label(copy, "S900/008")
    label(copy, "S900/008", name="S900_008_00000003_emotion (1).txt")
    label(copy, "S900/009", name="S900_001_00000003_emotion.txt")
    label(copy, "S900/010").write_bytes(b"\xff\xfe3")
    label(copy, "S900/011")
    sequence(copy, "S900/011")
    reading = ckplus.read_clips(copy)
    assert reading.clips["clip"][reading.clips["subject"] == "S900"].tolist() == ["011"]
    for clip, text in texts.items():
        finding = of_clip(reading, f"S900/{clip}")
        expected = f"S900_{clip}_00000003_emotion.txt holds {text!r}, no number from 1 to 7"
        assert finding.problem == expected
        assert (finding.outcome, finding.known) == ("left out", False)
        assert finding.place == str(copy / "Emotion/S900" / clip)
    assert of_clip(reading, "S900/008").problem == (
        "2 emotion files, S900_008_00000003_emotion (1).txt, S900_008_00000003_emotion.txt"
    )
    named = of_clip(reading, "S900/009").problem
    assert named.startswith("S900_001_00000003_emotion.txt is not named S900_009_<frame>_emotion.txt")
    assert "no number from 1 to 7" in of_clip(reading, "S900/010").problem
    # Their labels cannot be read: they are not counted as sequences without one.
    assert reading.findings[-1].problem == "5 of 27 sequences have no label, such as S005/005"


def test_what_is_wrong_with_frames_is_told_of_each(copy: Path) -> None:
    label(copy, "S900/001")
    label(copy, "S900/002")
    (copy / "cohn-kanade-images/S900/002").mkdir(parents=True)
    label(copy, "S900/003")
    cut = sequence(copy, "S900/003") / "S900_003_00000002.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    label(copy, "S900/004", frame=4)
    sequence(copy, "S900/004")
    label(copy, "S900/005")
    (sequence(copy, "S900/005") / "S900_005_00000002.png").unlink()
    shutil.copytree(copy / "Landmarks/S005/001", copy / "points")
    for clip in ("004", "005"):
        points = copy / f"Landmarks/S900/{clip}/S900_{clip}_00000001_landmarks.txt"
        points.parent.mkdir(parents=True)
        shutil.copy(copy / "points/S005_001_00000001_landmarks.txt", points)
    reading = ckplus.read_clips(copy)
    assert "no such folder" in of_clip(reading, "S900/001").problem
    assert "no frame in this folder" in of_clip(reading, "S900/002").problem
    broken = [finding for finding in reading.findings if finding.clip == "ckplus/S900/003"]
    assert [finding.outcome for finding in broken] == ["used", "left out"]
    assert "S900_003_00000002.png is cut short" in broken[1].problem
    differs = of_clip(reading, "S900/004")
    assert differs.problem == "the label is of frame 4, the last frame is 3"
    assert (differs.outcome, differs.action) == ("used", "the last frame is taken as the apex")
    assert "1 frame(s) missing between onset and offset, such as 2" in of_clip(reading, "S900/005").problem
    kept = reading.clips[reading.clips["subject"] == "S900"]
    assert kept["clip"].tolist() == ["004", "005"]
    assert kept["apex"].tolist() == kept["offset"].tolist() == [3, 3]


def test_landmarks_are_optional_and_told(copy: Path) -> None:
    points = copy / "Landmarks/S005"
    (points / "001/S005_001_00000001_landmarks.txt").unlink()
    half = points / "002/S005_002_00000001_landmarks.txt"
    half.write_text("\n".join(half.read_text().splitlines()[:40]))
    reading = ckplus.read_clips(copy)
    assert reading.clips["landmarks"].isna().tolist() == [True, True] + [False] * 12
    first, second = of_clip(reading, "S005/001"), of_clip(reading, "S005/002")
    assert first.problem.startswith("S005_001_00000001_landmarks.txt: landmarks cannot be read")
    assert second.problem.startswith("S005_002_00000001_landmarks.txt: 40 landmarks")
    assert first.outcome == second.outcome == "used"
    shutil.rmtree(copy / "Landmarks")
    reading = ckplus.read_clips(copy)
    assert reading.clips["landmarks"].isna().all()
    assert len(reading.clips) == 14
    first, unlabelled = reading.findings
    assert (first.problem, first.outcome, first.known) == ("no folder Landmarks", "used", False)
    assert unlabelled.known


def test_folders_that_are_missing(copy: Path) -> None:
    (copy / "Emotion").rename(copy / "FACS")
    with pytest.raises(MerError, match=r"ckplus: no folder Emotion; unpack Emotion_labels\.zip there"):
        ckplus.read_clips(copy)
    (copy / "Emotion").mkdir()
    with pytest.raises(MerError, match=r"Emotion: no label that can be used$"):
        ckplus.read_clips(copy)
    label(copy, "S005/001", "joy")
    shutil.rmtree(copy / "Landmarks")  # a finding too, and no reason
    with pytest.raises(
        MerError, match=r"Emotion: no label that can be used; the first reason: .*'joy', no number"
    ):
        ckplus.read_clips(copy)
    shutil.rmtree(copy / "cohn-kanade-images")
    with pytest.raises(
        MerError, match=r"no folder cohn-kanade-images; unpack extended-cohn-kanade-images\.zip there"
    ):
        ckplus.read_clips(copy)
