import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mer.data.faces import Face
from mer.data.frames import list_frames, read_clip
from mer.data.video import count_frames, read_video
from mer.errors import MerError
from tests.trees import write_png

Frames = NDArray[np.uint8]


def write_video(path: Path, frames: Frames, *, codec: str = "FFV1") -> Path:
    """Write frames (H, W, 3), B, G, R, as a video; FFV1 keeps every pixel."""
    height, width = frames.shape[1:3]
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, 25.0, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def noise(count: int, *, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 48, 3), np.uint8)


def channels_first(frames: Frames) -> Frames:
    """(T, H, W, 3), B, G, R, as (T, 3, H, W), R, G, B."""
    return frames[..., ::-1].transpose(0, 3, 1, 2)


# What is read.


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".recording"])
def test_frames_are_numbered_from_one_and_come_in_the_order_asked(tmp_path: Path, suffix: str) -> None:
    drawn = noise(6)
    path = write_video(tmp_path / "clip3.avi", drawn).rename(tmp_path / f"clip3{suffix}")
    clip = read_video(path, [4, 1, 6, 4], grey=False)
    assert (clip.dtype, clip.shape) == (torch.uint8, (4, 3, 32, 48))
    np.testing.assert_array_equal(clip.numpy(), channels_first(drawn[[3, 0, 5, 3]]))
    assert torch.equal(read_clip(path, [4, 1, 6, 4], grey=False, threads=2), clip)
    assert list_frames(path) == dict.fromkeys(range(1, 7), path)


def test_grey_is_that_of_an_image_with_the_same_pixels(tmp_path: Path) -> None:
    drawn = noise(2)
    video = read_video(write_video(tmp_path / "v.avi", drawn), [1, 2], grey=True)
    for number, pixels in enumerate(drawn, start=1):
        write_png(tmp_path / f"frames/img{number}.png", pixels)
    assert video.shape == (2, 1, 32, 48)
    images = read_clip(tmp_path / "frames", [1, 2], grey=True)
    assert int((video.int() - images.int()).abs().max()) <= 1


def test_a_frame_does_not_depend_on_which_others_are_read(tmp_path: Path) -> None:
    # Frames of this codec are differences: one that was sought, not decoded up to, would be wrong.
    moving = np.stack([np.roll(noise(1)[0], shift, axis=1) for shift in range(30)])
    path = write_video(tmp_path / "v.mp4", moving, codec="mp4v")
    whole = read_video(path, range(1, 31), grey=False)
    assert len(torch.unique(whole.flatten(1), dim=0)) == 30
    for number in (1, 2, 13, 29, 30):
        assert torch.equal(read_video(path, [number], grey=False)[0], whole[number - 1])


def test_frames_are_counted_by_decoding(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", noise(10))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10, "the header's number is of the whole file"
    count = count_frames(path)
    assert 0 < count < 10
    assert len(read_video(path, range(1, count + 1), grey=True)) == count


def test_a_file_that_has_changed_is_counted_again(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    for count in (3, 5):
        assert count_frames(write_video(path, noise(count))) == count


@pytest.mark.parametrize("grey", [True, False])
def test_the_face_is_cut_out(tmp_path: Path, grey: bool) -> None:
    face = Face("haar", (1.0, 0.0, -5.0, 0.0, 1.0, -7.0), (20, 10), (), "typical")
    path = write_video(tmp_path / "v.avi", noise(3))
    whole = read_video(path, [3, 1], grey=grey)
    crop = read_clip(path, [3, 1], grey=grey, face=face)
    assert torch.equal(crop, whole[:, :, 7:17, 5:25])


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")  # Latin-1
    drawn = noise(2)
    path = write_video(tmp_path / "v.avi", drawn)
    folder.mkdir()
    path = path.rename(folder / os.fsdecode(b"\xe7a.avi"))
    assert count_frames(path) == 2
    np.testing.assert_array_equal(read_clip(path, [2], grey=False).numpy(), channels_first(drawn[1:]))


# Errors.


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    for read in (count_frames, list_frames, lambda path: read_clip(path, [1], grey=True)):
        with pytest.raises(MerError, match=r"gone\.avi: cannot be read \(No such file or directory\); check"):
            read(tmp_path / "gone.avi")


@pytest.mark.parametrize("content", [b"", b"not a video " * 100])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.avi"
    path.write_bytes(content)
    for read in (count_frames, lambda path: read_clip(path, [1], grey=True)):
        with pytest.raises(MerError, match=r"v\.avi: not a video that OpenCV can open; copy or convert"):
            read(path)


def test_a_video_without_a_frame_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", noise(0))
    for read in (count_frames, lambda path: read_clip(path, [1], grey=True)):
        with pytest.raises(MerError, match=r"v\.avi: no frame in this video"):
            read(path)


@pytest.mark.parametrize("numbers", [[2, 7, 8], [7, 2, 8], [8, 2, 7, 7]])
def test_a_number_beyond_the_end_says_how_many_frames_there_are(tmp_path: Path, numbers: list[int]) -> None:
    path = write_video(tmp_path / "v.avi", noise(6))
    first, count = next(number for number in numbers if number > 6), len(numbers)
    with pytest.raises(
        MerError,
        match=rf"v\.avi: no frame {first} \({count - 1} of {count} missing\); the video has 6 frames",
    ):
        read_video(path, numbers, grey=True)


def test_numbers_start_at_one(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", noise(2))
    with pytest.raises(MerError, match=r"v\.avi: no frame 0; the frames of a video are numbered from 1"):
        read_video(path, [2, 0], grey=True)
    with pytest.raises(MerError, match=r"v\.avi: no frame asked for"):
        read_clip(path, [], grey=True)


def test_a_folder_may_end_like_a_video_and_an_image_is_none(tmp_path: Path) -> None:
    write_png(tmp_path / "c.avi/img5.png", noise(1)[0])
    assert list(list_frames(tmp_path / "c.avi")) == [5]
    with pytest.raises(MerError, match=r"img5\.png: no such folder of frames"):
        list_frames(tmp_path / "c.avi/img5.png")


def test_a_list_that_names_another_video_is_none(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.avi", noise(3))
    (tmp_path / "clip.avi").write_text("ffconcat version 1.0\nfile secret.avi\n")
    with pytest.raises(MerError, match=r"clip\.avi: not a video that OpenCV can open"):
        count_frames(tmp_path / "clip.avi")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.avi")
    with pytest.raises(MerError, match=r"clip\.avi: no file, so not a video"):
        count_frames(tmp_path / "clip.avi")
