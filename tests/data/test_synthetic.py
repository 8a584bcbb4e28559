import dataclasses
import hashlib
import inspect
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from mer import config
from mer.data import synthetic
from mer.data.drawn_clip import LABELS, Clip, displacement, draw_clip, head_motion, render
from mer.data.drawn_face import Face, draw_face, draw_subject
from mer.data.frames import read_clip
from mer.encodings import StillFrame
from mer.encodings.apex_flow import tvl1_flow
from mer.errors import MerError

TINY: dict[str, Any] = {"subjects": 2, "clips_per_class": 1, "size": 32}
USUAL: dict[str, Any] = {
    "amplitude": (1.2, 2.0),
    "stray": 0.35,
    "jitter": 0.04,
    "noise": 2.0,
    "blink": 0.5,
    "head": 0.2,
    "light": 0.02,
}
DEFAULT = {  # the parameters of ``write_synthetic`` that decide how hard it is
    name: parameter.default
    for name, parameter in inspect.signature(synthetic.write_synthetic).parameters.items()
    if name in USUAL
}
CLEAN = {**USUAL, "noise": 0.0, "blink": 0.0, "head": 0.0, "light": 0.0}
CASES = [(label, number) for label in LABELS for number in (1, 2)]


def face_and_clip(label: str, number: int, settings: dict[str, Any]) -> tuple[Face, Clip]:
    face = draw_subject(np.random.default_rng(number))
    return face, draw_clip(face, label, (0, 0, number), **settings)


def digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in files:
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "tree"
    synthetic.write_synthetic(root, subjects=3, clips_per_class=4, size=32)
    return root


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthetic.write_synthetic(tmp_path / name, seed=seed, **TINY)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    for subject in ("s01", "s02"):
        assert digest(tmp_path / "a" / subject) != digest(tmp_path / "c" / subject)
    assert digest(tmp_path / "a" / "s01") != digest(tmp_path / "a" / "s02")


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    synthetic.write_synthetic(tmp_path / "two", **TINY)
    synthetic.write_synthetic(tmp_path / "three", **{**TINY, "subjects": 3})
    for subject in ("s01", "s02"):
        assert digest(tmp_path / "two" / subject) == digest(tmp_path / "three" / subject)


def test_the_table_agrees_with_the_frames_on_disk(tree: Path) -> None:
    table = synthetic.read_clips(tree)
    assert " ".join(table.columns) == "database subject clip label onset apex offset fps frames"
    assert [str(table[c].dtype) for c in ("onset", "apex", "offset", "fps")] == ["Int64"] * 3 + ["Float64"]
    assert table.equals(table.sort_values(["database", "subject", "clip"], ignore_index=True))
    assert set(table["database"]) == {"synthetic"}
    for row in table.to_dict("records"):
        numbers = sorted(int(path.stem.removeprefix("img")) for path in Path(row["frames"]).iterdir())
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] < row["onset"] < row["apex"] < row["offset"] <= numbers[-1]
        # Sorted as text these come in another order: a reader that does so is caught.
        assert sorted(map(str, numbers)) != list(map(str, numbers))
        image = cv2.imread(f"{row['frames']}/img{row['apex']}.png", cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (32, 32)
        assert image.dtype == np.uint8


def test_every_subject_has_each_label_equally_often_and_in_an_order_of_its_own(tree: Path) -> None:
    table = synthetic.read_clips(tree)
    orders = []
    for _, clips in table.groupby("subject"):
        assert clips["label"].value_counts().to_dict() == dict.fromkeys(LABELS, 4)
        orders.append(tuple(clips["label"]))
        assert orders[-1] != tuple(sorted(orders[-1]))
    assert len(set(orders)) == 3


def test_the_label_changes_the_movement_and_nothing_else() -> None:
    """The same clip under three labels: same numbers, blink, head, light, noise, and the same onset frame."""
    face = draw_subject(np.random.default_rng(0))
    drawing = draw_face(face, 48)
    for number in range(1, 5):
        clips = [draw_clip(face, label, (0, 0, number), **USUAL) for label in LABELS]
        rest = [{k: str(v) for k, v in vars(c).items() if k not in ("label", "bumps")} for c in clips]
        assert rest[0] == rest[1] == rest[2]
        videos = [render(face, clip, drawing) for clip in clips]
        onset, apex = clips[0].onset - clips[0].first, clips[0].apex - clips[0].first
        for other in videos[1:]:
            assert np.array_equal(videos[0][: onset + 1], other[: onset + 1])
            assert not np.array_equal(videos[0][apex], other[apex])


def test_a_quiet_face_is_neutral_at_onset_and_from_offset_on() -> None:
    face, clip = face_and_clip("surprise", 1, CLEAN)
    video = render(face, clip, draw_face(face, 48))
    assert np.array_equal(video[0], video[clip.onset - clip.first])
    assert np.array_equal(video[0], video[clip.offset - clip.first])
    change = [int(np.abs(frame.astype(int) - video[0]).sum()) for frame in video]
    assert int(np.argmax(change)) == clip.apex - clip.first


@pytest.mark.parametrize(("label", "number"), CASES)
@pytest.mark.parametrize("size", [64, 112])
def test_the_longest_vector_is_the_peak_and_at_most_two_pixels(label: str, number: int, size: int) -> None:
    _, clip = face_and_clip(label, number, USUAL)
    field = displacement(clip, clip.apex, size)
    assert field.shape == (2, size, size)
    assert field.dtype == np.float32
    longest = np.hypot(*field).max()
    assert longest == pytest.approx(clip.peak * size / 112, rel=1e-5)
    assert 1.2 * size / 112 <= longest <= 2 * size / 112 * 1.00001
    assert not displacement(clip, clip.onset, size).any()
    assert not displacement(clip, clip.offset, size).any()


def test_the_labels_move_as_they_say() -> None:
    """Up is negative. Without the other labels' movements, at the places that tell the labels apart."""
    face = draw_subject(np.random.default_rng(0))
    corner = [round((face[k] + 1) * 56) for k in ("mouth_y", "mouth_width")]
    brow = [round((v + 1) * 56) for v in (face["eye_y"] - face["brow_gap"], 0.8 * face["eye_x"])]
    for number in range(1, 9):
        fields = {
            label: displacement(clip, clip.apex)
            for label in LABELS
            for clip in [draw_clip(face, label, (0, 0, number), **{**CLEAN, "stray": 0.0})]
        }
        assert fields["positive"][1, *corner] < -0.1 < 0.1 < fields["negative"][1, *corner]
        assert fields["surprise"][1, *brow] < -0.1 < 0.1 < fields["negative"][1, *brow]


@pytest.mark.parametrize(("label", "number"), CASES)
def test_the_apex_frame_is_the_onset_frame_moved_by_the_field(label: str, number: int) -> None:
    face, clip = face_and_clip(label, number, CLEAN)
    video = render(face, clip, draw_face(face, 112))
    onset, apex = (video[k - clip.first].astype(np.float32) for k in (clip.onset, clip.apex))
    grid = np.stack(np.meshgrid(*[np.arange(112, dtype=np.float32)] * 2))
    x, y = grid + displacement(clip, clip.apex)
    inner = (slice(4, -4), slice(4, -4))
    error = (cv2.remap(apex, x, y, cv2.INTER_CUBIC) - onset)[inner]
    assert error.std() < 0.9  # greys; rounding both frames alone makes 0.4
    assert error.std() < 0.4 * (apex - onset)[inner].std()


def test_a_head_that_moves_alone_moves_the_frame_by_its_field() -> None:
    face, clip = face_and_clip("positive", 1, {**CLEAN, "head": 0.6})
    still = dataclasses.replace(clip, bumps=clip.bumps * [1, 1, 1, 0, 1], peak=0.0)
    drawing = draw_face(face, 112)
    neutral = render(face, dataclasses.replace(still, head=np.zeros((3, 3))), drawing)[0].astype(np.float32)
    frame = render(face, still, drawing)[clip.apex - clip.first].astype(np.float32)
    x, y = np.stack(np.meshgrid(*[np.arange(112, dtype=np.float32)] * 2)) + head_motion(clip, clip.apex)
    error = np.abs(cv2.remap(frame, x, y, cv2.INTER_CUBIC) - neutral)[4:-4, 4:-4]
    assert error.mean() < 0.3 * np.abs(frame - neutral)[4:-4, 4:-4].mean()


@pytest.mark.parametrize(
    ("change", "errors", "correlations"),
    [  # (worst, median) of three clips: endpoint error in px at most, correlation at least
        ({"noise": 0.5, "blink": 0.0, "head": 0.0, "light": 0.0}, (0.15, 0.1), (0.88, 0.88)),
        ({"light": 0.0}, (0.25, 0.2), (0.5, 0.75)),
        ({}, (0.5, 0.3), (0.0, 0.7)),  # as it comes: a drift of the light alone can hide the field
    ],
    ids=["quiet", "steady light", "default"],
)
def test_optical_flow_finds_the_field_in_the_files(
    tmp_path: Path, change: dict[str, Any], errors: tuple[float, float], correlations: tuple[float, float]
) -> None:
    root = synthetic.write_synthetic(tmp_path / "tree", subjects=1, clips_per_class=1, **change)
    _, clips = synthetic.draw_clips(0, clips_per_class=1, seed=0, **{**DEFAULT, **change})
    measured = []
    for row in synthetic.read_clips(root).to_dict("records"):
        clip = clips[row["clip"]]
        assert [row[key] for key in ("label", "onset", "apex")] == [clip.label, clip.onset, clip.apex]
        frames = read_clip(Path(row["frames"]), [clip.onset, clip.apex], grey=True)
        found = tvl1_flow(frames[:1], frames[1:])[0].numpy()
        known = displacement(clip, clip.apex) + head_motion(clip, clip.apex) - head_motion(clip, clip.onset)
        error = float(np.hypot(*(found - known)).mean())
        correlation = float(np.corrcoef(found.ravel(), known.ravel())[0, 1])
        print(f"{clip.label}: peak {clip.peak:.2f} px, error {error:.3f} px, correlation {correlation:.3f}")
        measured.append((error, correlation))
    found_errors, found_correlations = zip(*measured, strict=True)
    assert max(found_errors) < errors[0]
    assert np.median(found_errors) < errors[1]
    assert min(found_correlations) > correlations[0]
    assert np.median(found_correlations) > correlations[1]


def test_a_blink_darkens_the_open_eye_s_white() -> None:
    face, clip = face_and_clip("positive", 1, {**CLEAN, "blink": 1.0})
    assert clip.blink is not None
    drawing = draw_face(face, 112)
    shut = dataclasses.replace(clip, blink=(float(clip.first), 2.0))
    y, x = (round((face[k] + 1) * 56) for k in ("eye_y", "eye_x"))
    blinking = render(face, shut, drawing)
    pupil = blinking[:, y - 1 : y + 2, x - 1 : x + 2].astype(int).mean(axis=(1, 2))
    assert pupil[0] > pupil[-1] + 40  # the lid is brighter than the pupil that it covers
    quiet = render(face, dataclasses.replace(clip, blink=None), drawing)
    assert np.array_equal(blinking[-1], quiet[-1])


def test_a_finished_tree_is_kept_and_an_unfinished_or_other_one_rewritten(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    synthetic.write_synthetic(root, **TINY)
    whole, written = digest(root), (root / "clips.csv").stat().st_mtime_ns
    synthetic.write_synthetic(root, **TINY)
    assert (root / "clips.csv").stat().st_mtime_ns == written

    (root / "synthetic.json").unlink()
    next(root.rglob("img*.png")).unlink()
    synthetic.write_synthetic(root, **TINY)
    assert digest(root) == whole

    synthetic.write_synthetic(root, **{**TINY, "subjects": 1})
    assert not (root / "s02").exists()


def test_an_interrupted_write_leaves_no_tree_and_does_not_disturb_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cv2, "imwrite", fail)
        with pytest.raises(KeyboardInterrupt):
            synthetic.write_synthetic(tmp_path / "tree", **TINY)
    assert not (tmp_path / "tree").exists()
    synthetic.write_synthetic(tmp_path / "tree", **TINY)
    synthetic.write_synthetic(tmp_path / "other", **TINY)
    assert digest(tmp_path / "tree") == digest(tmp_path / "other")


def test_a_folder_with_something_else_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(MerError, match=r"thesis\.tex.*another folder"):
        synthetic.write_synthetic(tmp_path, **TINY)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(MerError, match="is a file"):
        synthetic.write_synthetic(tmp_path / "thesis.tex", **TINY)


@pytest.mark.parametrize(
    "bad", [{"subjects": 0}, {"size": 8}, {"amplitude": (1.0, 2.5)}, {"amplitude": (2.0, 1.0)}]
)
def test_bad_parameters_are_named(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(MerError, match="bad parameters") as caught:
        synthetic.write_synthetic(tmp_path / "tree", **{**TINY, **bad})
    assert "\n" not in str(caught.value)


def test_a_missing_tree_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(MerError, match="write_synthetic") as caught:
            synthetic.read_clips(root)
        assert str(root / "clips.csv") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_clip_that_lost_a_frame_is_named(tmp_path: Path) -> None:
    root = synthetic.write_synthetic(tmp_path / "tree", **TINY)
    lost = next((root / "s02" / "c03").glob("img*.png"))
    count = len(list(lost.parent.iterdir()))
    lost.unlink()
    hint = rf"s02/c03: {count - 1} of the {count} frames .* remove {root}, so that it is written anew"
    with pytest.raises(MerError, match=hint):
        synthetic.read_clips(root)
    shutil.rmtree(lost.parent)
    with pytest.raises(MerError, match=rf"s02/c03: 0 of the {count} frames"):
        synthetic.read_clips(root)


def test_a_table_of_another_version_is_named(tmp_path: Path) -> None:
    root = synthetic.write_synthetic(tmp_path / "tree", **TINY)
    pd.read_csv(root / "clips.csv").drop(columns="frames").to_csv(root / "clips.csv", index=False)
    with pytest.raises(MerError, match=rf"another version: remove {root}, so"):
        synthetic.read_clips(root)


def test_without_a_root_each_set_of_parameters_has_its_own_folder_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    table = synthetic.write_and_read(**TINY)
    harder = synthetic.write_and_read(**TINY, stray=0.5)
    assert len(list((tmp_path / "synthetic").glob("[!.]*"))) == 2
    assert not set(table["frames"]) & set(harder["frames"])
    marks = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("synthetic.json"))
    assert table.equals(synthetic.write_and_read(**TINY))
    assert marks == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("synthetic.json"))
    root = synthetic.write_synthetic(tmp_path / "named", **TINY)
    assert synthetic.write_and_read(root, **TINY).equals(synthetic.read_clips(root))
    with pytest.raises(MerError, match=r"data\.clips: unexpected keyword argument 'strayed'"):
        synthetic.write_and_read(strayed=0.5)


def test_the_config_gives_keywords_with_their_defaults() -> None:
    """Amplitude comes from a config as a list."""
    path = Path(__file__).parents[2] / "conf" / "data" / "synthetic.yaml"
    target, keywords = config.function(OmegaConf.load(path).clips, "data.clips")
    assert target is synthetic.write_and_read
    defaults = {k: p.default for k, p in inspect.signature(synthetic.write_synthetic).parameters.items()}
    assert keywords.items() <= defaults.items()


def test_a_list_from_a_config_is_the_same_database(tmp_path: Path) -> None:
    listed = OmegaConf.create({"amplitude": [1, 2.0]})
    synthetic.write_synthetic(tmp_path / "a", **TINY, amplitude=(1.0, 2.0))
    synthetic.write_synthetic(tmp_path / "b", **TINY, amplitude=listed.amplitude)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_the_data_module_needs_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    monkeypatch.delenv("MER_ROOT_SYNTHETIC", raising=False)
    small = partial(synthetic.write_synthetic, **TINY)
    monkeypatch.setattr(synthetic, "write_synthetic", small)
    data = synthetic.SyntheticDataModule(encoding=StillFrame(), fold="synthetic/s02", batch_size=4)
    assert (data.in_channels, data.num_classes, data.classes) == (1, 3, list(LABELS))
    assert len(data.split.train) == len(data.split.test) == 3
    images = torch.cat([batch["image"] for batch in data.test_dataloader()])
    assert images.shape == (3, 1, 28, 28)
