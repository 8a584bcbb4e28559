import hashlib
import inspect
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer import config
from mer.data import synthetic, synthetic_videos
from mer.data.drawn_clip import LABELS
from mer.data.synthetic_videos import read_clips, write_and_read, write_synthetic_videos
from mer.data.videos import find_videos, video_frames
from mer.errors import MerError
from mer.packaged import config_dir

TINY: dict[str, Any] = {"subjects": 2, "clips_per_class": 1, "still": 1, "size": 16}
TINY |= {"length": (40, 44), "long_length": (65, 70)}


def digest(root: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_videos(tmp_path_factory.mktemp("videos") / "tree", **TINY)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tree: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        write_synthetic_videos(tmp_path / name, seed=seed, **TINY)
    assert digest(tmp_path / "a") == digest(tree)
    for subject in ("s01", "s02"):
        assert digest(tmp_path / "a" / subject) != digest(tmp_path / "b" / subject)
    assert digest(tree / "s01") != digest(tree / "s02")
    write_synthetic_videos(tmp_path / "c", **{**TINY, "subjects": 1})
    assert digest(tmp_path / "c/s01") == digest(tree / "s01")


def test_the_tables_agree_with_the_frames_on_disk(tree: Path) -> None:
    clips, findings, _, still = read_clips(tree)
    assert findings == []
    assert still is not None
    assert " ".join(clips.columns) == "database subject clip label onset apex offset fps frames"
    assert set(clips["database"]) == set(still["database"]) == {"synthetic"}  # what titles results
    assert set(clips["fps"]) == set(still["fps"]) == {30.0}
    assert len(still) == 2
    videos = find_videos(clips, still)
    assert videos.findings == []
    assert len(videos.table) == 2 * (len(LABELS) + 1 + 1)
    lengths = {"several": range(65, 71)}
    for label, path, numbers in zip(
        videos.table["label"], videos.table["frames"], video_frames(videos), strict=True
    ):
        assert numbers.tolist() == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) in lengths.get(label, range(40, 45))
        # Sorted as text these come in another order: a reader that does so is caught.
        assert sorted(map(str, numbers)) != list(map(str, numbers))
        image = cv2.imread(f"{path}/img{numbers[0]}.png", cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (16, 16)
    for row in videos.expressions.to_dict("records"):
        numbers = video_frames(videos)[row["video"]]
        assert numbers[0] < row["onset"] < row["apex"] <= row["offset"] < numbers[-1]


def test_each_subject_has_every_kind_in_an_order_of_its_own(tmp_path: Path) -> None:
    options = {**TINY, "clips_per_class": 2, "still": 2, "subjects": 3}
    reading = write_and_read(tmp_path / "tree", **options)
    table = find_videos(reading.clips, reading.still).table
    kinds = {**dict.fromkeys(LABELS, 2), "none": 2, "several": 1}
    orders = set()
    for _, own in table.groupby("subject"):
        assert own["label"].value_counts().to_dict() == kinds
        assert own["frames"].map(lambda path: Path(path).name).tolist() == [f"v{n:02d}" for n in range(1, 10)]
        orders.add(tuple(own["label"]))
    assert len(orders) == 3


def test_without_still_or_long_videos(tmp_path: Path) -> None:
    clips, _, _, still = write_and_read(tmp_path / "tree", **{**TINY, "still": 0, "long": 0})
    assert still is not None
    assert len(still) == 0
    assert len(find_videos(clips, still).table) == len(clips) == 2 * len(LABELS)


def test_a_finished_tree_is_kept_and_an_unfinished_or_other_one_rewritten(tmp_path: Path) -> None:
    options = {**TINY, "subjects": 1, "long": 0}
    root = write_synthetic_videos(tmp_path / "tree", **options)
    whole, written = digest(root), (root / "clips.csv").stat().st_mtime_ns
    write_synthetic_videos(root, **options)
    assert (root / "clips.csv").stat().st_mtime_ns == written
    (root / "synthetic.json").unlink()
    write_synthetic_videos(root, **options)
    assert digest(root) == whole
    synthetic.write_synthetic(root, subjects=1, clips_per_class=1, size=16)
    assert not (root / "still.csv").exists()
    with pytest.raises(MerError, match=r"still.csv is missing: write .* with write_synthetic_videos\("):
        read_clips(root)
    (root / "thesis.tex").write_text("years of work")
    with pytest.raises(MerError, match=r"thesis\.tex.*another folder"):
        write_synthetic_videos(root, **options)


def test_a_video_that_lost_a_frame_is_named(tmp_path: Path) -> None:
    root = write_synthetic_videos(tmp_path / "tree", **{**TINY, "subjects": 1})
    for name in ("still.csv", "clips.csv"):
        row = pd.read_csv(root / name).iloc[0]
        folder = root / row["subject"] / row.get("video", row["clip"])
        next(folder.glob("img*.png")).unlink()
        with pytest.raises(MerError, match=rf"{folder}: {row['frames'] - 1} of the {row['frames']} frames"):
            read_clips(root)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"subjects": 0}, "subjects and clips_per_class start at 1"),
        ({"still": -1}, "still, long and seed at 0"),
        ({"amplitude": (1.0, 3.5)}, r"amplitude is two rising numbers in \(0, 3\]"),
        ({"head": (2.0, 1.0)}, "head two from 0"),
        ({"length": (24, 90)}, "length is two rising numbers from 25, long_length from 65"),
        ({"long_length": (64, 90)}, "long_length from 65"),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message) as caught:
        write_synthetic_videos(tmp_path / "tree", **{**TINY, **bad})
    assert "\n" not in str(caught.value)


def test_the_config_gives_every_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges come from a config as lists."""
    content = OmegaConf.load(config_dir() / "data/synthetic_videos.yaml")
    target, keywords = config.function(content.clips, "data.clips")
    assert target is write_and_read
    parameters = inspect.signature(write_synthetic_videos).parameters
    defaults = {name: one.default for name, one in parameters.items() if name != "root"}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    assert dict(keywords) == listed
    assert list(content.classes) == list(LABELS)
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    small = {**TINY, "subjects": 1, "long": 0}
    root = write_synthetic_videos(**small)
    assert root.parent == tmp_path / "synthetic_videos"
    assert synthetic_videos.write_synthetic_videos(**{**small, "length": [40, 44.0]}) == root
    assert write_synthetic_videos(**{**small, "seed": 1}) != root
