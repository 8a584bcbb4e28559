"""Files of 68 points, spoilt: refused in one line that names the file, or so many finite points."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mer.data.faces import FaceOptions, locate
from mer.data.landmarks import COUNTS, find_landmarks, read_landmarks
from mer.errors import MerError
from tests import trust
from tests.fuzz.sheets import spoil

NUMBERS = st.one_of(
    st.floats(-50, 50).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["nan", "inf", "-inf", "1e400", "1e308", "x", "", "1,5", "٣", "1_0", "0x1", '"', "{", "}"]
    ),
)


def points(count: int = 68) -> list[list[str]]:
    """Points of an upright face in a frame of 64x64: the right eye (37-42) left of the left one (43-48)."""
    return [[f"{10 + 0.6 * k:.2f}", f"{20 + k % 7}"] for k in range(count)]


def plain(rows: list[list[str]]) -> str:
    return "".join(f"{' '.join(row)}\n" for row in rows)


def pts(rows: list[list[str]]) -> str:
    return f"version: 1\nn_points: {len(rows)}\n{{\n{plain(rows)}}}\n"


def openface(rows: list[list[str]]) -> str:
    names = [f"{axis}_{k}" for axis in "xy" for k in range(len(rows))]
    cells = [row[axis] for axis in (0, 1) for row in rows]
    return f"frame, success, {', '.join(names)}\n1, 1, {', '.join(cells)}\n"


FORMATS = {".txt": plain, ".pts": pts, ".csv": openface}


def read(content: bytes, suffix: str) -> None:
    """Read a file of this content; what it gives can be used, or its error names it."""
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / f"clip{suffix}"
        path.write_bytes(content)
        found = trust.attempt("input", "68-point file", lambda: read_landmarks(path, frame=1))
    if isinstance(found, MerError):
        assert str(path) in str(found), str(found)
        return
    assert len(found) in COUNTS
    assert np.isfinite(found).all()
    image = np.zeros((1, 64, 64), np.uint8)
    for align in (False, True):
        options = FaceOptions(method="landmarks", align=align)
        face = trust.attempt(
            "input", "68 points in a frame", partial(locate, image, found, options, cropped=False)
        )
        if not isinstance(face, MerError):
            # A crop is made in memory: it must be of the frame's order.
            assert max(face.size) < 10 * 64, face.size


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_sound_files_are_read(suffix: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        path = Path(base) / f"clip{suffix}"
        path.write_text(FORMATS[suffix](points()))
        assert read_landmarks(path, frame=1).shape == (68, 2)


@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 80), st.dictionaries(st.integers(0, 135), NUMBERS))
@example(".csv", 68, {0: "1e18"})
@example(".txt", 68, {0: "1e18"})
@example(".txt", 68, dict.fromkeys(range(72, 96), "5"))  # both eyes at one place
@example(".csv", 0, {})
def test_other_points_are_read_or_named(suffix: str, count: int, changes: dict[int, str]) -> None:
    rows = points(count)
    for place, text in changes.items():
        if place < 2 * count:
            rows[place // 2][place % 2] = text
    read(FORMATS[suffix](rows).encode(), suffix)


@given(st.sampled_from(sorted(FORMATS)), st.sampled_from(["\t", ";", ",", " ; ", "\0", "\r"]))
def test_other_delimiters_are_read_or_named(suffix: str, delimiter: str) -> None:
    text = FORMATS[suffix](points())
    read(text.replace(", ", " ").replace(" ", delimiter).encode(), suffix)


@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_spoilt_bytes_are_read_or_named(suffix: str, data: st.DataObject) -> None:
    read(spoil(data, FORMATS[suffix](points()).encode()), suffix)


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize(
    "content",
    [b"", b"\n" * 100_000, b"1 " * 200_000, b"x_0," + b'"' + b"9" * 200_000, b"\x80\x04\x95", b"{" * 10_000],
    ids=["empty", "lines", "one long line", "one huge cell", "pickle", "braces"],
)
def test_other_files_are_named(suffix: str, content: bytes) -> None:
    read(content, suffix)


@given(st.text(max_size=20), st.text(max_size=300))
@example("../s2", "c1")
@example("s1", "../../s2/c1")
@example("/etc", "passwd")
@example("s1", "x" * 300)
@example("s1\0", "c1")
def test_no_name_of_a_clip_leads_out_of_the_folder(subject: str, clip: str) -> None:
    with tempfile.TemporaryDirectory() as base:
        root = Path(base) / "a/landmarks"
        root.mkdir(parents=True)
        found = trust.attempt(
            "input", "names of landmarks", lambda: find_landmarks(root, "db", subject, clip)
        )
        assert found is None or isinstance(found, MerError)
        if ".." in (*subject.split("/"), *clip.split("/")):
            assert isinstance(found, MerError)
