import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mer.data.faces import Face
from mer.data.frames import list_frames, read_clip, read_frame
from mer.errors import MerError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def write(path: Path, bgr: Pixels) -> Path:
    ok, content = cv2.imencode(path.suffix, bgr)
    assert ok
    path.write_bytes(content.tobytes())
    return path


def blocks(*, seed: int = 0, height: int = 24, width: int = 32) -> NDArray[np.uint8]:
    """Flat 8x8 blocks of random colour, B, G, R: a picture that JPEG nearly keeps."""
    colours = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))


def box(x: int, y: int, width: int, height: int) -> Face:
    """A face that is this part of the frame."""
    return Face("haar", (1.0, 0.0, -float(x), 0.0, 1.0, -float(y)), (width, height), (), "typical")


def test_frames_are_sorted_as_integers_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("img10.png", "img9.PNG", "reg_2_img100.bmp", "006_1_00011.jpeg", ".img3.png", "._img4.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes5.txt").write_bytes(b"")
    (tmp_path / "img6.png").mkdir()
    frames = list_frames(tmp_path)
    assert [(number, path.name) for number, path in frames.items()] == [
        (9, "img9.PNG"),
        (10, "img10.png"),
        (11, "006_1_00011.jpeg"),
        (100, "reg_2_img100.bmp"),
    ]


def test_a_folder_without_frames_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"nowhere: no such folder of frames; check data\.root"):
        list_frames(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(
        MerError, match=rf"{tmp_path.name}: no frame in this folder; .* \.jpg \.jpeg \.png \.bmp"
    ):
        list_frames(tmp_path)


def test_ambiguous_and_missing_numbers_name_the_files(tmp_path: Path) -> None:
    (tmp_path / "img1.png").write_bytes(b"")
    (tmp_path / "img01.jpg").write_bytes(b"")
    with pytest.raises(MerError, match=r"img01\.jpg and img1\.png are both frame 1; move one out"):
        list_frames(tmp_path)
    (tmp_path / "img01.jpg").rename(tmp_path / "cover.jpg")
    with pytest.raises(MerError, match=r"cover\.jpg: no frame number in this name; rename"):
        list_frames(tmp_path)


def test_colour_is_red_green_blue(tmp_path: Path) -> None:
    bgr = np.zeros((2, 3, 3), np.uint8)
    bgr[...] = (10, 20, 200)
    frame = read_frame(write(tmp_path / "1.png", bgr), grey=False)
    assert frame.dtype == np.uint8
    assert frame.shape == (3, 2, 3)
    assert frame[:, 0, 0].tolist() == [200, 20, 10]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
def test_grey_is_the_luma_of_the_colours(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"1{suffix}", blocks())
    colour, grey = read_frame(path, grey=False), read_frame(path, grey=True)
    assert grey.shape == (1, 24, 32)
    luma = np.tensordot([0.299, 0.587, 0.114], colour.astype(float), 1)
    # JPEG stores luma itself; clipped colours lose a little of it.
    np.testing.assert_allclose(grey[0], luma, atol=6 if suffix == ".jpg" else 1)


def test_a_grey_file_read_in_colour_has_three_equal_channels(tmp_path: Path) -> None:
    plane = blocks()[:, :, 0]
    path = write(tmp_path / "1.png", plane)
    np.testing.assert_array_equal(read_frame(path, grey=False), np.stack([plane] * 3))
    np.testing.assert_array_equal(read_frame(path, grey=True), plane[None])


@pytest.mark.parametrize("grey", [True, False])
def test_16_bits_are_divided_by_257_and_rounded(tmp_path: Path, grey: bool) -> None:
    values = np.array([[0, 128, 129, 257, 32767, 65406, 65407, 65535]], np.uint16)
    frame = read_frame(write(tmp_path / "1.png", values), grey=grey)
    assert frame.dtype == np.uint8
    assert frame[-1].tolist() == [[0, 0, 1, 1, 127, 254, 255, 255]]
    assert frame[-1].tolist() == np.rint(values / 257).astype(int).tolist()


def test_names_that_are_not_ascii_and_wrong_suffixes_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "表情 été"
    folder.mkdir()
    path = write(folder / "å1.png", blocks())
    expected = read_frame(path, grey=False)
    np.testing.assert_array_equal(read_frame(path.rename(folder / "å1.jpg"), grey=False), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("lost", [1, 2, 0.3, 0.5])
def test_an_image_that_is_cut_short_is_named(tmp_path: Path, suffix: str, lost: float) -> None:
    path = write(tmp_path / f"img7{suffix}", blocks(height=64, width=64))
    content = path.read_bytes()
    path.write_bytes(content[: -lost if isinstance(lost, int) else -int(lost * len(content))])
    with pytest.raises(MerError, match=rf"img7{suffix}: this image is cut short \(\d+ bytes\); copy"):
        read_frame(path, grey=False)


def test_a_jpeg_cut_after_its_thumbnail_is_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "1.jpg", blocks(height=64, width=64))
    thumbnail = write(tmp_path / "2.jpg", blocks()).read_bytes()
    content = path.read_bytes()
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = content[:2] + segment + content[2:]
    expected = read_frame(path, grey=False)
    path.write_bytes(whole + b"trailing bytes are allowed")
    np.testing.assert_array_equal(read_frame(path, grey=False), expected)
    path.write_bytes(whole[:-100])
    with pytest.raises(MerError, match="cut short"):
        read_frame(path, grey=False)


@pytest.mark.parametrize("content", [b"", b"not an image", b"BM\x00\x00"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "img3.bmp"
    path.write_bytes(content)
    with pytest.raises(MerError, match=r"img3\.bmp: no image \(UnidentifiedImageError\); give JPEG"):
        read_frame(path, grey=True)


def test_a_cut_bmp_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "img3.bmp", blocks())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MerError, match=r"img3\.bmp: "):
        read_frame(path, grey=False)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"img3\.bmp: cannot be read \(No such file"):
        read_frame(tmp_path / "img3.bmp", grey=True)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_clip_has_the_frames_in_the_order_asked(tmp_path: Path, threads: int) -> None:
    bgr = {number: blocks(seed=number) for number in range(8, 12)}
    for number, pixels in bgr.items():
        write(tmp_path / f"img{number}.png", pixels)
    clip = read_clip(tmp_path, [9, 10, 8, 9], grey=False, threads=threads)
    assert (clip.dtype, clip.shape) == (torch.uint8, (4, 3, 24, 32))
    expected = np.stack([bgr[n][:, :, ::-1].transpose(2, 0, 1) for n in (9, 10, 8, 9)])
    np.testing.assert_array_equal(clip.numpy(), expected)
    assert read_clip(tmp_path, [8], grey=True).shape == (1, 1, 24, 32)


def test_a_number_without_a_file_names_folder_number_and_range(tmp_path: Path) -> None:
    for number in (5, 6, 11):
        write(tmp_path / f"img{number}.png", blocks())
    expected = rf"{tmp_path.name}: no frame 7 \(2 of 3 missing\); the folder has 3 frames, 5 to 11: check"
    with pytest.raises(MerError, match=expected):
        read_clip(tmp_path, [6, 7, 12], grey=True)
    with pytest.raises(MerError, match=rf"{tmp_path.name}: no frame asked for"):
        read_clip(tmp_path, [], grey=True)


def test_frames_of_different_sizes_name_two_files(tmp_path: Path) -> None:
    write(tmp_path / "img1.png", blocks())
    write(tmp_path / "img2.png", blocks())
    write(tmp_path / "img3.png", blocks(height=32))
    with pytest.raises(MerError, match=r"img1\.png is 32x24 and img3\.png is 32x32; replace"):
        read_clip(tmp_path, [1, 2, 3], grey=False)


# Crops.


@pytest.mark.parametrize("grey", [True, False])
def test_the_face_is_cut_out_of_each_frame(tmp_path: Path, grey: bool) -> None:
    for number in (1, 2, 3):
        write(tmp_path / f"img{number}.png", blocks(seed=number))
    whole = read_clip(tmp_path, [3, 1], grey=grey)
    crop = read_clip(tmp_path, [3, 1], grey=grey, threads=2, face=box(4, 6, 20, 10))
    assert torch.equal(crop, whole[:, :, 6:16, 4:24])


def test_frames_of_different_sizes_are_not_hidden_by_a_crop(tmp_path: Path) -> None:
    write(tmp_path / "img1.png", blocks())
    write(tmp_path / "img2.png", blocks(height=32))
    with pytest.raises(MerError, match=r"img1\.png is 32x24 and img2\.png is 32x32; replace"):
        read_clip(tmp_path, [1, 2], grey=False, face=box(0, 0, 8, 8))


def test_memory_holds_a_clip_once_and_of_a_cropped_clip_the_crops(tmp_path: Path) -> None:
    for number in range(1, 41):
        write(tmp_path / f"img{number}.bmp", blocks(seed=number, height=160, width=160))
    whole = 40 * 160 * 160 * 3

    def peak(face: Face | None) -> int:
        tracemalloc.start()  # it sees NumPy's memory, which the frames are in
        read_clip(tmp_path, range(1, 41), grey=False, threads=2, face=face)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert whole < peak(None) < 1.6 * whole
    assert peak(box(10, 10, 16, 16)) < 0.6 * whole


# Names.


def test_names_that_are_not_utf8_are_read_and_named(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")  # Latin-1
    folder.mkdir()
    write(folder / os.fsdecode(b"\xe7a1.png"), blocks())
    assert list(list_frames(folder)) == [1]
    assert read_clip(folder, [1], grey=True).shape == (1, 1, 24, 32)
    with pytest.raises(MerError, match=r": no frame 2 \(1 of 1 missing\)"):
        read_clip(folder, [2], grey=True)


# Files that claim what they are not.


def test_an_image_that_claims_a_giant_size_is_not_decoded(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "img1.bmp", blocks()).read_bytes())
    content[18:26] = (20_000).to_bytes(4, "little") * 2
    (tmp_path / "img1.bmp").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(MerError, match=r"img1\.bmp: too large for a frame"):
        read_frame(tmp_path / "img1.bmp", grey=False)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000 * 20_000


def test_a_gif_under_another_name_is_named(tmp_path: Path) -> None:
    Image.fromarray(blocks()).save(tmp_path / "img1.gif")
    (tmp_path / "img1.gif").rename(tmp_path / "img1.jpg")
    with pytest.raises(MerError, match=r"img1\.jpg: no image .*give JPEG, PNG or BMP"):
        read_frame(tmp_path / "img1.jpg", grey=False)


def test_a_time_in_a_name_is_no_frame_number(tmp_path: Path) -> None:
    (tmp_path / "img_20140508123456789.png").write_bytes(b"")
    with pytest.raises(MerError, match=r"20140508123456789\.\.\. is no frame number; rename"):
        list_frames(tmp_path)


def test_a_link_to_itself_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "img1.png").symlink_to("img1.png")
    write(tmp_path / "img2.png", blocks())
    assert list(list_frames(tmp_path)) == [2]
