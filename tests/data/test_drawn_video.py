import dataclasses
from typing import Any

import numpy as np
import pytest

from mer.data.drawn_clip import LABELS, displacement
from mer.data.drawn_clip import render as render_clip
from mer.data.drawn_face import Face, Image, draw_face, draw_subject
from mer.data.drawn_video import LEAD, Video, draw_video, lids, pose, render_video, shortest

USUAL: dict[str, Any] = {
    **{"length": (60, 60), "amplitude": (2.0, 3.0), "stray": 0.35, "jitter": 0.04, "noise": 0.3},
    **{"blinks": 0.5, "nods": 0.5, "head": (3.0, 5.0), "light": 0.005},
}


@pytest.fixture(scope="module")
def face() -> Face:
    return draw_subject(np.random.default_rng(0))


@pytest.fixture(scope="module")
def drawing(face: Face) -> Image:
    return draw_face(face, 48)


def quiet(video: Video) -> Video:
    """The same expressions, and nothing else."""
    return dataclasses.replace(
        video,
        blinks=np.empty((0, 2)),
        nods=np.empty((0, 6)),
        light=np.zeros((2, 3)),
        noise=0.0,
    )


@pytest.mark.parametrize("expressions", [0, 1, 3])
def test_expressions_lie_apart_with_frames_around_them(face: Face, expressions: int) -> None:
    for number in range(40):
        length = shortest(expressions) + number % 20
        labels = LABELS[:expressions]
        video = draw_video(face, labels, (0, 0, number), **{**USUAL, "length": (length, length)})
        assert video.last - video.first + 1 == length
        assert tuple(clip.label for clip in video.expressions) == labels
        ends = [video.first - 1]
        for clip in video.expressions:
            ends += [clip.onset, clip.offset]
            assert 5 <= clip.apex - clip.onset <= 8
            assert 10 <= clip.offset - clip.onset + 1 <= 15
            assert clip.offset > clip.apex
        ends.append(video.last + 1)
        gaps = np.diff(ends)[::2]
        assert (gaps > LEAD).all()


def test_what_disturbs_knows_neither_label_nor_time(face: Face) -> None:
    """The same video with another label, or without any: all else is the same."""
    for number in range(5):
        videos = [
            draw_video(face, labels, (0, 0, number), **USUAL) for labels in (*[[k] for k in LABELS], [])
        ]
        rest = [{k: str(v) for k, v in vars(one).items() if k != "expressions"} for one in videos]
        assert rest[0] == rest[1] == rest[2] == rest[3]
        times = {(v.expressions[0].onset, v.expressions[0].apex, v.expressions[0].offset) for v in videos[:3]}
        assert len(times) == 1


def test_every_video_has_blinks_and_nods_stronger_than_an_expression(face: Face) -> None:
    for number in range(20):
        video = draw_video(face, ["surprise"], (0, 0, number), **USUAL)
        longest = np.hypot(*pose(video)[:, :2].T).max()
        if ((video.nods[:, 0] > video.first + 2) & (video.nods[:, 0] < video.last - 2)).any():
            assert longest > 0.85 * 3.0  # the middle of a nod may fall between two frames
        assert all(np.hypot(nod[3], nod[4]) >= 3.0 >= video.expressions[0].peak for nod in video.nods)
        shut = lids(video)
        assert shut.max() > 0.5
        for at, half in video.blinks:
            alone = dataclasses.replace(video, blinks=np.array([[at, half]]))
            assert 1 <= (lids(alone) > 0).sum() <= 4


def test_an_expression_moves_the_frames_as_in_a_clip(face: Face, drawing: Image) -> None:
    """Where nothing disturbs, the frames are those of ``drawn_clip.render``."""
    video = quiet(draw_video(face, ["positive"], (0, 0, 3), **USUAL))
    (clip,) = video.expressions
    frames = render_video(face, video, drawing)
    expected = render_clip(face, clip, drawing)
    assert frames.shape == expected.shape == (60, 48, 48)
    assert np.abs(frames.astype(int) - expected).max() <= 1  # greys: they round at a half either way
    assert (frames != expected).mean() < 1e-3
    onset, apex, offset = (number - video.first for number in (clip.onset, clip.apex, clip.offset))
    assert (frames[: onset + 1] == frames[0]).all()
    assert (frames[offset:] == frames[0]).all()
    assert np.abs(frames[apex].astype(int) - frames[0]).max() > 10
    assert np.hypot(*displacement(clip, clip.apex)).max() == pytest.approx(clip.peak, rel=1e-5)


def test_a_nod_shifts_the_frame(face: Face, drawing: Image) -> None:
    """By 7 of 112 px, which are 3 of 48; then it is gone."""
    video = quiet(draw_video(face, [], (0, 0, 1), **USUAL))
    nod = np.array([[video.first + 20.0, 4.0, 3.0, 7.0, -7.0, 0.0]])
    frames = render_video(face, dataclasses.replace(video, nods=nod), drawing)
    assert pose(dataclasses.replace(video, nods=nod))[20].tolist() == [7.0, -7.0, 0.0]
    np.testing.assert_array_equal(frames[20][:-3, 3:], frames[0][3:, :-3])
    np.testing.assert_array_equal(frames[22], frames[20])  # held
    np.testing.assert_array_equal(frames[[14, 26]], frames[[0, 0]])  # 5 frames and more away


def test_a_blink_changes_the_eyes_alone(face: Face, drawing: Image) -> None:
    video = quiet(draw_video(face, [], (0, 0, 1), **USUAL))
    blink = np.array([[video.first + 10.0, 2.0]])
    frames = render_video(face, dataclasses.replace(video, blinks=blink), drawing).astype(int)
    changed = np.flatnonzero((frames != frames[0]).any(axis=(1, 2)))
    assert changed.tolist() == [9, 10, 11]
    rows = np.flatnonzero((frames[10] != frames[0]).any(axis=1)) / 24 - 1
    assert rows.min() > face["eye_y"] - 0.2
    assert rows.max() < face["eye_y"] + 0.2


def test_light_and_noise_are_as_large_as_they_say(face: Face, drawing: Image) -> None:
    video = quiet(draw_video(face, [], (0, 0, 1), **USUAL))
    plain = render_video(face, video, drawing).astype(float)
    noisy = render_video(face, dataclasses.replace(video, noise=4.0), drawing) - plain
    inner = (plain > 30) & (plain < 225)
    assert noisy[inner].std() == pytest.approx(np.hypot(4.0, np.sqrt(1 / 12)), rel=0.02)
    waves = np.array([[0.1, 0.1, np.pi / 2 - 0.1 * video.first], [0.0, 0.0, 0.0]])
    lit = render_video(face, dataclasses.replace(video, light=waves), drawing)
    share = lit[:, inner[0]].mean(axis=1) / plain[0, inner[0]].mean()
    np.testing.assert_allclose(share, 1 + 0.1 * np.cos(0.1 * np.arange(60)), atol=0.005)


def test_many_frames_are_rendered_as_few(face: Face, drawing: Image) -> None:
    """More than one call of OpenCV: 48 x 400 rows are above its limit."""
    long = quiet(draw_video(face, [], (0, 0, 1), **{**USUAL, "length": (400, 400)}))
    nod = np.array([[long.first + 380.0, 4.0, 3.0, 7.0, -7.0, 0.0]])
    frames = render_video(face, dataclasses.replace(long, nods=nod), drawing)
    assert frames.shape == (400, 48, 48)
    assert (frames[:370] == frames[0]).all()
    np.testing.assert_array_equal(frames[380][:-3, 3:], frames[0][3:, :-3])
