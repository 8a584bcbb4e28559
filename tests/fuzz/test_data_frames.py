"""Folders of frames, images and videos, spoilt: an error or a finding names the clip, and nothing hangs."""

import io
import os
import pickle
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mer.data.findings import Reading
from mer.data.frames import list_frames, read_clip, read_frame
from mer.data.settle import settle
from mer.errors import MerError
from tests import trust
from tests.fuzz.sheets import spoil
from tests.trees import write_frames

FEW = settings(max_examples=max(10, settings().max_examples // 2))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 4096)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + info + b"\0" * 64


def encoded(kind: str, mode: str, size: tuple[int, int] = (9, 8)) -> bytes:
    """An image of another kind or mode than usual, as Pillow writes it."""
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, kind)
    return file.getvalue()


def jpeg() -> bytes:
    return encoded("JPEG", "RGB")


IMAGES: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: cv2.imencode(".png", np.full((8, 9), 40000, np.uint16))[1].tobytes(),
    "alpha": lambda: encoded("PNG", "RGBA"),
    "grey and alpha": lambda: encoded("PNG", "LA"),
    "palette": lambda: encoded("PNG", "P"),
    "one bit": lambda: encoded("PNG", "1"),
    "CMYK": lambda: encoded("JPEG", "CMYK"),
    "grey": lambda: encoded("JPEG", "L"),
    "another size": lambda: encoded("PNG", "RGB", (5, 3)),
    "one pixel": lambda: encoded("PNG", "RGB", (1, 1)),
    "gif": lambda: encoded("GIF", "P"),
    "tiff": lambda: encoded("TIFF", "RGB"),
    "webp": lambda: encoded("WEBP", "RGB"),
    "pdf": lambda: encoded("PDF", "RGB"),
    "postscript": lambda: encoded("EPS", "RGB"),
    "html": lambda: b"<!DOCTYPE html><html>404 Not Found</html>",
    "pickle": lambda: pickle.dumps({"a": [1, 2]}),
    "empty": lambda: b"",
    "zeros": lambda: b"\0" * 3000,
    "bomb": lambda: png_header(50000, 50000),
    "large": lambda: png_header(20000, 20000),
    "no size": lambda: png_header(0, 0),
    "largest": lambda: png_header(2**31 - 1, 2**31 - 1),
    "bmp bomb": lambda: bmp_header(50000, 50000),
    "bmp upside down": lambda: bmp_header(9, -(2**31)),
    "script": lambda: b"#!/bin/sh\ntouch owned\n",
}
NAMES = st.one_of(
    st.sampled_from(
        [
            *(
                "cover.jpg",
                "img01.png",
                "img1.png",
                "img1.jpg",
                "IMG2.PNG",
                ".img3.png",
                "a b 7.png",
                "..png",
            ),
            *("img-4.png", "1.png", "9" * 200 + ".png", f"{10**15}.png", "20140508123456789.png", "img٣.png"),
            *("$(touch owned)5.jpg", "; touch owned 6.jpg", "'7.jpg", '"8.jpg', "a\nb9.jpg", "\\..\\10.png"),
            *(
                "Thumbs.db",
                "notes.txt",
                "img3.png.tmp",
                "img4.PNG~",
                "x" * 240 + "5.png",
                "%d3.png",
                "{}6.png",
            ),
        ]
    ),
    st.text(
        st.characters(exclude_characters="/\0", categories=None, exclude_categories=["Cs"]),
        min_size=1,
        max_size=30,
    ).map(lambda text: f"{text}3.png"),
)


@contextmanager
def clip_folder() -> Iterator[Path]:
    """The folder of a sound clip, frames 1 to 6."""
    with tempfile.TemporaryDirectory() as base:
        yield write_frames(Path(base) / "root/s1/c1", range(1, 7), size=(8, 9))


def use(folder: Path, kind: str) -> Reading | MerError:
    """Settle the clip as the readers do, and decode what is left; every refusal names the clip."""
    row = {"subject": "s1", "clip": "c1", "label": "joy", "onset": "1", "apex": "3", "offset": "6"}
    other = write_frames(folder.parent / "other", range(1, 7), size=(8, 9))
    rows = pd.DataFrame([row | {"frames": str(folder)}, row | {"clip": "other", "frames": str(other)}])
    result = trust.attempt("input", kind, lambda: settle(rows, source=folder.parent, database="db", fps=200))
    assert isinstance(result, Reading), "the other clip is sound"
    told = [str(finding) for finding in result.findings]
    if "c1" not in set(result.clips["clip"]):
        assert any("db/s1/c1: " in text for text in told), told
        return result
    clip = result.clips[result.clips["clip"] == "c1"].iloc[0]
    numbers = [n for n in list_frames(folder) if clip["onset"] <= n <= clip["offset"]]
    for grey in (True, False):
        decode = partial(read_clip, folder, numbers, grey=grey)
        frames = trust.attempt("input", f"{kind}, decoded", decode)
        if isinstance(frames, MerError):
            assert str(folder).split("/")[-1] in str(frames), str(frames)
            return frames
        assert frames.shape[1] == (1 if grey else 3)
    return result


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_an_image_of_any_kind_is_decoded_or_named(kind: str) -> None:
    with clip_folder() as folder:
        (folder / "img3.png").write_bytes(IMAGES[kind]())
        use(folder, "image of another kind")
        result = trust.attempt(
            "input", "image of another kind, decoded", lambda: read_frame(folder / "img3.png", grey=False)
        )
        decodes = kind in ("16 bits", "alpha", "grey and alpha", "palette", "one bit", "CMYK", "grey")
        assert isinstance(result, np.ndarray) == (decodes or kind in ("another size", "one pixel"))


@given(st.sampled_from([".png", ".jpg", ".bmp"]), st.data())
def test_bytes_of_an_image_are_decoded_or_named(suffix: str, data: st.DataObject) -> None:
    ok, content = cv2.imencode(suffix, np.arange(216, dtype=np.uint8).reshape(8, 9, 3))
    assert ok
    spoilt = spoil(data, content.tobytes())
    with clip_folder() as folder:
        (folder / "img3.png").write_bytes(spoilt)
        use(folder, "spoilt image")


@given(st.lists(st.tuples(NAMES, st.sampled_from(sorted(IMAGES))), min_size=1, max_size=3))
@FEW
@example([("20140508123456789.png", "grey")])
@example([(f"{10**14}.png", "grey")])
def test_files_of_any_name_beside_the_frames(files: list[tuple[str, str]]) -> None:
    with clip_folder() as folder:
        for name, kind in files:
            try:
                (folder / name).write_bytes(IMAGES[kind]())
            except OSError:  # too long
                continue
        use(folder, "files beside the frames")
        assert not Path("owned").exists()


def to_nowhere(path: Path) -> None:
    path.symlink_to("gone.png")


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def to_a_pair(path: Path) -> None:
    path.symlink_to(path.parent / "pair.png")
    (path.parent / "pair.png").symlink_to(path)


def out_of_the_root(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def unreadable(path: Path) -> None:
    path.write_bytes(jpeg())
    path.chmod(0)


def odd_bytes(path: Path) -> None:
    try:
        path.with_name(os.fsdecode(b"\xe9\xff3.png")).write_bytes(jpeg())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")


PLANTS = (to_nowhere, to_itself, to_a_pair, out_of_the_root, endless, pipe, a_folder, unreadable, odd_bytes)


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", ["img3.png", "img9.png", "img03.png", "note.txt"])
def test_what_is_no_plain_file_in_a_folder_of_frames(plant: Callable[[Path], None], name: str) -> None:
    with clip_folder() as folder:
        (folder / name).unlink(missing_ok=True)
        plant(folder / name)
        use(folder, "links, pipes and folders among frames")


@pytest.mark.parametrize("plant", [*PLANTS, lambda path: path.write_bytes(b""), lambda path: path.mkdir()])
@pytest.mark.parametrize("suffix", ["", ".avi", ".png"])
def test_what_is_no_folder_in_place_of_the_frames(plant: Callable[[Path], None], suffix: str) -> None:
    with clip_folder() as folder:
        shutil.rmtree(folder)
        place = folder.with_name(f"c1{suffix}")
        plant(place)
        use(place, "no folder in place of the frames")


@given(missing=st.sets(st.integers(1, 6)), beyond=st.lists(st.integers(0, 10**15 - 1), max_size=2))
@FEW
@example(missing={1, 2, 3, 4, 5, 6}, beyond=[])
@example(missing=set(), beyond=[10**15 - 1])
def test_missing_frames_are_told(missing: set[int], beyond: list[int]) -> None:
    with clip_folder() as folder:
        for number in missing:
            (folder / f"img{number}.png").unlink()
        for number in beyond:
            (folder / f"img{number}.png").write_bytes(encoded("PNG", "RGB"))
        result = use(folder, "missing frames")
        there = (set(range(1, 7)) - missing) | set(beyond)
        assert isinstance(result, Reading)
        if there & {1, 2, 3, 4, 5, 6} != {1, 2, 3, 4, 5, 6}:
            assert any("db/s1/c1: " in str(finding) for finding in result.findings)


def video_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / "v.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (16, 16))
        for number in range(6):
            writer.write(np.full((16, 16, 3), 40 * number, np.uint8))
        writer.release()
        return path.read_bytes()


VIDEO = video_bytes()


@given(st.data())
@FEW
def test_bytes_of_a_video_are_decoded_or_named(data: st.DataObject) -> None:
    with clip_folder() as folder:
        video = folder.with_name("c1.avi")
        video.write_bytes(spoil(data, VIDEO))
        use(video, "spoilt video")


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.avi\n",
        "#EXTM3U\n#EXTINF:5,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD><BaseURL>http://example.org</BaseURL></MPD>',
    ],
)
@pytest.mark.parametrize("name", ["c1.avi", "c1.m3u8", "c1.ffconcat", "c1.sdp", "c1.mpd", "c1.txt"])
def test_a_list_of_other_files_is_no_video(text: str, name: str) -> None:
    with clip_folder() as folder:
        folder.with_name("other.avi").write_bytes(VIDEO)
        video = folder.with_name(name)
        video.write_text(text)
        result = trust.attempt("input", "a list that names other files", lambda: list_frames(video))
        assert isinstance(result, MerError)
        assert f"{name}: not a video" in str(result)
