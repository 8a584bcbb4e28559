"""`mer predict`: what a run has stored of a tested clip is what the command gives for its frames."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from skimage.data import astronaut

from mer import checkpoint, predict, runs, train
from mer.data.faces import Face
from mer.data.synthetic import read_clips
from mer.errors import MerError
from mer.prediction import Interval, Prediction, predict_clip
from mer.prediction_input import Options, encode_clip, load_model
from mer.prediction_json import as_json, corners
from mer.prediction_picture import draw_prediction
from mer.spotting_scores import SpotOptions, spotted
from tests.checkpoints import SPOTTING, write_fold
from tests.trees import write_frames, write_png

CLASSES = ["negative", "positive", "surprise"]
FACE = (slice(20, 200), slice(130, 310))  # rows and columns around the face of `astronaut`


def moving_face(count: int = 10) -> "list[np.typing.NDArray[np.uint8]]":
    """Frames (H, W, 3), B, G, R, in which the mouth of a real face rises and falls."""
    grey = cv2.cvtColor(np.ascontiguousarray(astronaut()[FACE]), cv2.COLOR_RGB2GRAY)  # type: ignore[no-untyped-call]
    # Images and videos are turned grey by unlike sums, which agree, but for rounding, on equal channels.
    image = np.repeat(grey[..., None], 3, axis=2)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    bump = np.exp(-(((x - 98) / 30) ** 2) - ((y - 128) / 16) ** 2)
    risen = (6 * np.sin(np.pi * k / (count - 1)) for k in range(count))
    moved = (cv2.remap(image, x, (y + step * bump).astype(np.float32), cv2.INTER_LINEAR) for step in risen)
    return [np.asarray(frame, np.uint8) for frame in moved]


def write_face(folder: Path, count: int = 10) -> Path:
    for number, frame in enumerate(moving_face(count), start=1):
        write_png(folder / f"img{number}.png", frame)
    return folder


def write_video(path: Path, count: int = 10, fps: float = 25) -> Path:
    frames = moving_face(count)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (frames[0].shape[1], frames[0].shape[0])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for frame in frames:
        video.write(frame)
    video.release()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with the checkpoints of two folds."""
    for seed, fold in enumerate(("a/s1", "a/s2")):
        write_fold(tmp_path / "run", fold, seed=seed)
    return tmp_path / "run"


def call(*arguments: object, out: Path) -> dict[str, Any]:
    """Predict one clip; gives its JSON."""
    predict.main([*map(str, arguments), "--out", str(out)])
    (path,) = out.glob("*.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert imread(path.with_suffix(".png")).shape[1] == 1280
    return record


def test_a_tested_clip_has_the_probabilities_that_its_fold_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train.main(
        [
            *(
                "experiment=demo",
                "data.clips.subjects=3",
                "data.clips.clips_per_class=1",
                "data.clips.size=48",
            ),
            *("epochs=3", "fold=synthetic/s02", "save_checkpoint=true", "workers=1", "tag=t"),
        ]
    )
    (run,) = Path("runs").glob("demo/*/*/*/seed-0")
    stored = runs.read_predictions(run, partial=True)
    (root,) = (path.parent for path in tmp_path.glob("mer-cache/synthetic/*/clips.csv"))
    clips = read_clips(root)
    for _, clip in clips[clips["subject"] == "s02"].iterrows():
        numbers = [f"--{name}={clip[name]}" for name in ("onset", "apex", "offset")]
        record = call(clip["frames"], "-c", run, "--cropped", *numbers, out=tmp_path / clip["clip"])
        expected = stored[stored["clip"] == clip["clip"]][[f"p_{name}" for name in CLASSES]].to_numpy()[0]
        assert list(record["probabilities"].values()) == pytest.approx(expected.tolist(), abs=2e-6)
        assert record["emotion"] == CLASSES[int(expected.argmax())]
        assert record["frames"] == {
            **{name: clip[name] for name in ("onset", "apex", "offset")},
            "apex_from": "given",
        }
        assert record["warning"] == "trained on SYNTHETIC DATA"
        assert record["notes"] == []
    assert "trained on SYNTHETIC DATA" in capsys.readouterr().out
    # One of those that it was trained on is known again, under whatever name.
    seen = Path(clips[clips["subject"] == "s01"]["frames"].iloc[0])
    first = int(clips[clips["subject"] == "s01"]["onset"].iloc[0])
    record = call(seen, "-c", run, "--cropped", f"--onset={first}", out=tmp_path / "seen")
    assert record["notes"] == [
        "a clip that begins with the same frame was trained on: this is no test of the network"
    ]


def test_a_tested_video_has_the_curve_that_its_fold_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    videos = ("subjects=2", "clips_per_class=1", "still=0", "long=0", "size=32")
    train.main(
        ["experiment=timecontrast_small", "data=synthetic_videos", "protocol=holdout", "protocol.test=0.5"]
        + [f"data.clips.{option}" for option in videos]
        + ["data.clips.length=[40,42]", "encoding.size=32", "encoding.warps=1", "network.width=0.0625"]
        + ["network.context_dilation=2", "epochs=2", "task.pretrain_epochs=1", "task.draws=1"]
        + ["save_checkpoint=true", "workers=1", "tag=t"]
    )
    (run,) = Path("runs").glob("timecontrast_small/*/*/*/seed-0")
    frames, _ = runs.read_spotting(run)
    (root,) = (path.parent for path in tmp_path.glob("mer-cache/synthetic_videos/*/clips.csv"))
    subject, video = frames[["subject", "video"]].iloc[0]
    rows = frames[frames["video"] == video]
    record = call(
        *(root / str(subject) / str(video), "-c", run, "--cropped", "--fps=30", "--threshold=0.05"),
        out=tmp_path / "out",
    )
    assert record["curve"]["frame"] == rows["frame"].tolist()
    assert record["curve"]["intensity"] == pytest.approx(rows["score"].tolist(), abs=2e-6)
    found = spotted(rows.assign(inside=False), SpotOptions(threshold=0.05))
    assert [[each["onset"], each["offset"]] for each in record["intervals"]] == found[
        ["onset", "offset"]
    ].to_numpy().tolist()


def test_folds_are_averaged_and_the_face_is_found(tmp_path: Path, run: Path) -> None:
    video = write_video(tmp_path / "smile.mp4")
    both = call(video, "-c", run, out=tmp_path / "both")
    each = [call(video, "-c", run / f"fold-a.{name}", out=tmp_path / name) for name in ("s1", "s2")]
    values = np.array([list(one["probabilities"].values()) for one in each])
    assert list(both["probabilities"].values()) == pytest.approx(values.mean(axis=0).tolist(), abs=2e-6)
    assert list(both["spread"].values()) == pytest.approx(values.std(axis=0).tolist(), abs=2e-6)
    assert [one["spread"] for one in each] == [None, None]
    assert both["input"] | {"path": ""} == {
        **{"path": "", "name": "smile", "kind": "video", "frames": 10, "fps": 25.0}
    }
    assert both["face"]["method"] == "haar"
    # The eyes of `astronaut` lie about (210, 115) and (245, 115); the crop holds them.
    (left, top), _, (right, bottom), _ = both["face"]["corners"]
    assert left < 210 - 130 < 245 - 130 < right
    assert top < 115 - 20 < bottom
    assert both["frames"]["onset"] == 1
    assert both["frames"]["apex_from"] == "spotted"
    assert 3 <= both["frames"]["apex"] <= 8
    assert both["notes"] == ["25 frames a second; the checkpoint was trained at 200"]
    assert both["curve"] is both["intervals"] is None


def test_the_corners_of_a_turned_crop_are_those_that_it_is_cut_at(tmp_path: Path) -> None:
    # A quarter turn: the crop's right is the frame's down.
    eyes = (((0.0, 0.0),) * 6,) * 2
    face = Face("landmarks", (0.0, 1.0, -20.0, -1.0, 0.0, 30.0), (10, 5), eyes, "landmarks")
    assert corners(face).tolist() == [[31, 20], [31, 30], [26, 30], [26, 20]]


def test_a_video_and_its_frames_are_one_clip(tmp_path: Path, run: Path) -> None:
    path = write_video(tmp_path / "clip.mp4")
    video = cv2.VideoCapture(str(path))
    for number in range(1, 11):
        write_png(tmp_path / f"frames/img{number}.png", np.asarray(video.read()[1], np.uint8))
    video.release()
    one, other = (
        call(each, "-c", run, "--fps=200", out=tmp_path / f"out-{each.stem}")
        for each in (path, tmp_path / "frames")
    )
    for record in (one, other):
        assert record.pop("input")["fps"] == 200
        del record["spread"]
    assert one.pop("probabilities") == pytest.approx(other.pop("probabilities"), abs=0.02)
    assert one == other


def test_one_bad_clip_does_not_stop_the_others(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_face(tmp_path / "clips/good/one")
    write_video(tmp_path / "clips/one.mp4")
    (tmp_path / "clips/broken.avi").write_bytes(b"RIFF and no more")
    write_frames(tmp_path / "clips/noise", range(1, 4))
    write_frames(tmp_path / "clips/still", range(1, 2))
    (tmp_path / "clips/notes.txt").write_text("no clip")
    out = tmp_path / "clips/predictions"
    arguments = [str(tmp_path / "clips"), "-c", str(run), "--out", str(out), "--device", "cpu"]
    for _ in range(2):  # its own pictures are no clips
        with pytest.raises(MerError) as error:
            predict.main(arguments)
        text = str(error.value)
        assert text.startswith("3 of 5 clips failed: ")
        assert "broken.avi: not a video that OpenCV can open" in text
        assert "noise: no face found; give --landmarks FILE, --cropped" in text
        assert "still: one frame, which shows no motion" in text
        assert sorted(path.name for path in out.iterdir()) == [
            "good.one.json",
            "good.one.png",
            "one.json",
            "one.png",
        ]
    printed = capsys.readouterr().out
    assert printed.count("failed") == 6
    with pytest.raises(MerError):
        predict.main([*arguments, "--json", "--no-pictures"])
    records = json.loads(capsys.readouterr().out)
    assert [record["input"]["name"] for record in records] == ["good.one", "one"]


def test_a_command_ends_with_code_1_where_a_clip_failed(tmp_path: Path, run: Path) -> None:
    write_frames(tmp_path / "noise", range(1, 4))
    done = subprocess.run(
        [sys.executable, "-m", "mer.cli", "predict", str(tmp_path / "noise"), "-c", str(run)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"mer: {tmp_path / 'noise'}: no face found")
    assert "Traceback" not in done.stderr


def test_no_prediction_is_lost_to_another_clip_or_checkpoint(tmp_path: Path, run: Path) -> None:
    first, second = (write_face(tmp_path / name / "clip") for name in "ab")
    arguments = ["--out", str(tmp_path / "out"), "--no-pictures"]
    predict.main([str(first), "-c", str(run), *arguments])
    written = (tmp_path / "out/clip.json").read_bytes()
    predict.main([str(first), "-c", str(run), *arguments])  # the same again
    lost = r"out/clip\.json: holds the prediction of .*a/clip by .*run, which would be lost; name another"
    with pytest.raises(MerError, match=lost):
        predict.main([str(second), "-c", str(run), *arguments])
    with pytest.raises(MerError, match=lost):
        predict.main([str(first), "-c", str(run / "fold-a.s1"), *arguments])
    assert (tmp_path / "out/clip.json").read_bytes() == written
    (tmp_path / "out/clip.json").write_text("my notes")
    with pytest.raises(MerError, match=r"clip\.json: in the way, and no prediction"):
        predict.main([str(first), "-c", str(run), *arguments])


def test_names_of_clips_are_each_their_own(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "a/x.avi", "a/sub/x.mkv", "x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    write_frames(tmp_path / "a/sub/frames", range(1, 3))
    (tmp_path / "a/sub/again").symlink_to(tmp_path / "a")
    found = predict.find_clips([tmp_path / "a", tmp_path / "x.mp4"], apart_from=tmp_path / "predictions")
    assert [(source.name, source.kind) for source in found] == [
        ("sub.frames", "frames"),
        ("sub.x", "video"),
        ("x", "video"),
        ("x-mp4", "video"),
        ("x-mp4-2", "video"),
    ]
    assert len({source.path for source in found}) == 5


def test_a_name_that_is_not_utf_8(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    write_face(tmp_path / "face").rename(folder)
    clips = [str(folder), str(write_face(tmp_path / "face"))]
    with pytest.raises(MerError, match=r"1 of 2 clips failed: .*/caf\\xe9: its name is not UTF-8; rename it"):
        predict.main([*clips, "-c", str(run), "--out", str(tmp_path / "out")])
    assert "caf\\xe9" in capsys.readouterr().out
    assert (tmp_path / "out/face.json").exists()


def test_images_that_were_published_encoded(tmp_path: Path) -> None:
    network = write_fold(tmp_path / "run", "a/s1", encoding=None, run={"data": "megc2019_uvos"}, fps=[])
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    write_png(tmp_path / "flow.png", pixels)
    record = call(tmp_path / "flow.png", "-c", tmp_path / "run", out=tmp_path / "out")
    image = torch.from_numpy(pixels[:, :, ::-1].transpose(2, 0, 1).copy())[None].float()
    with torch.inference_mode():
        expected = network(image).softmax(1)[0].tolist()
    assert list(record["probabilities"].values()) == pytest.approx(expected, abs=2e-6)
    assert (record["input"]["kind"], record["face"]) == ("image", None)
    write_png(tmp_path / "large.png", np.zeros((30, 32, 3), np.uint8))
    with pytest.raises(MerError, match=r"large\.png: 32x30 pixels; .* images of 28x28 with 3 channels"):
        call(tmp_path / "large.png", "-c", tmp_path / "run", out=tmp_path / "large")
    video = write_video(tmp_path / "smile.mp4")
    with pytest.raises(
        MerError, match=r"published encoded \(data=megc2019_uvos\).*choose with --encoding NAME"
    ):
        call(video, "-c", tmp_path / "run", out=tmp_path / "video")
    chosen = call(video, "-c", tmp_path / "run", "--encoding=apex_flow_ipol", out=tmp_path / "video")
    assert chosen["notes"][0].startswith("encoded by ApexFlow, as chosen")
    with pytest.raises(MerError, match="--encoding none encodes nothing"):
        call(video, "-c", tmp_path / "run", "--encoding=none", out=tmp_path / "video")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--onset=11",), "no frame 11, which --onset names; it has 10 frames, 1 to 10"),
        (("--onset=5", "--apex=4"), "they must not decrease"),
        (("--fps=0",), "--fps 0.0: a number above 0 is needed"),
        (("--threshold=nan",), "--threshold nan: a number above 0 and up to 1"),
        (("--landmarks=gone.pts",), "--landmarks gone.pts: no such file"),
        (("--faces=landmarks",), "give --landmarks FILE"),
        (("--encoding=dynamic_image",), "was trained with ApexFlow, which encodes its clips too"),
        (("gone.mp4",), "gone.mp4: nothing is there"),
        (("--out={clip}",), "--out is the folder of the clip itself"),
        (("--apex=2", "{clip}/img1.png"), "--apex is of one clip, but 2 are named"),
    ],
)
def test_what_cannot_be_asked_for(
    tmp_path: Path, run: Path, arguments: tuple[str, ...], message: str
) -> None:
    clip = write_face(tmp_path / "clip")
    with pytest.raises(MerError, match=message):
        predict.main(
            [
                str(clip),
                "-c",
                str(run),
                "--out",
                str(tmp_path / "out"),
                *(a.format(clip=clip) for a in arguments),
            ]
        )


def test_folds_of_unlike_networks_are_not_averaged(tmp_path: Path, run: Path) -> None:
    write_fold(run, "a/s3", classes=["b", "a", "c"])
    with pytest.raises(MerError, match=r"fold-a\.s3/.*: another classes than .*fold-a\.s1"):
        load_model(run)


def test_a_network_that_diverged_says_nothing(tmp_path: Path) -> None:
    network = write_fold(tmp_path / "run", "a/s1")
    about = checkpoint.load(tmp_path / "run").about
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    checkpoint.write(tmp_path / "run/fold-a.s1", network, about)
    with pytest.raises(MerError, match="the network gives no finite numbers"):
        call(write_face(tmp_path / "clip"), "-c", tmp_path / "run", out=tmp_path / "out")


def test_a_picture_of_intervals(tmp_path: Path) -> None:
    """Of a network that spots nothing yet, with a curve made by hand: frames, labels and JSON agree."""
    write_fold(tmp_path / "run", "a/s1", **SPOTTING)
    model = load_model(tmp_path / "run")
    (source,) = predict.find_clips([write_face(tmp_path / "clip", 20)], apart_from=tmp_path)
    encoded = encode_clip(source, model, Options(fps=10, onset=3))
    made = predict_clip(encoded, model, Options(fps=10, onset=3))
    assert made.curve is not None
    assert (len(made.curve), made.intervals, made.winner) == (18, [], None)
    curve = np.linspace(0, 0.9, 18)
    found = [Interval(5, 7, 9, 0.4, np.array([0.7, 0.2, 0.1]))]
    found.append(Interval(12, 16, 20, 0.9, np.array([0.1, 0.6, 0.3])))
    full = Prediction(encoded, made.each, curve, made.of_frames, found)
    record = json.loads(json.dumps(as_json(full, model, Path("run")), allow_nan=False))
    assert record["emotion"] == "positive"
    assert [(each["emotion"], each["peak"]) for each in record["intervals"]] == [
        ("negative", 7),
        ("positive", 16),
    ]
    # At 10 a second the first frame of the clip, 1, begins at 0.
    assert record["intervals"][0]["onset_seconds"] == 0.4
    assert record["intervals"][0]["offset_seconds"] == 0.9
    assert record["curve"]["seconds"][0] == 0.2
    assert len(record["curve"]["state"]) == len(record["curve"]["probabilities"]["surprise"]) == 18
    figure = draw_prediction(full, model, "somebody")
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"negative 70 %", "positive 60 %", "7", "16"} <= set(texts)
    assert "none spotted" not in texts
    shaded = [patch.get_x() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert shaded == [4.5, 11.5]  # half a frame before each onset
    assert [text.get_text() for text in figure.texts][:2] == [
        "clip: 2 expressions, the strongest positive, 60 %",
        "somebody",
    ]
    assert not any("true" in tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels())


def test_the_table_of_frames_is_not_needed(tmp_path: Path) -> None:
    """pandas' missing numbers are not in what is written: of an unlabelled clip, all is null or a number."""
    write_fold(tmp_path / "run", "a/s1", **SPOTTING)
    record = call(write_face(tmp_path / "clip", 4), "-c", tmp_path / "run", out=tmp_path / "out")
    assert record["frames"] == {"onset": None, "apex": None, "offset": None, "apex_from": None}
    assert record["input"]["fps"] is record["curve"]["seconds"] is None
    assert not pd.isna(record["curve"]["intensity"]).any()
