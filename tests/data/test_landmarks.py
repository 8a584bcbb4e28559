from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mer.data.landmarks import find_landmarks, read_landmarks
from mer.errors import MerError


def points(count: int = 68, *, seed: int = 0) -> NDArray[np.float64]:
    """Points that five digits after the first hold exactly."""
    return np.random.default_rng(seed).integers(100_000, 999_999, (count, 2)) / 1000


def plain(marks: NDArray[np.float64]) -> str:
    """As CK+ has them: blanks, and exponents."""
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in marks)


def pts(marks: NDArray[np.float64]) -> str:
    lines = "\n".join(f"{x} {y}" for x, y in marks)
    return f"version: 1\nn_points:  {len(marks)}\n{{\n{lines}\n}}\n"


def openface(rows: dict[int, NDArray[np.float64]], *, success: int = 1) -> str:
    """The columns of OpenFace 2 that matter, between others whose names are alike."""
    count = len(next(iter(rows.values())))
    names = [f"{axis}_{k}" for axis in "xy" for k in range(count)]
    header = ["frame", "face_id", "timestamp", "confidence", "success", "eye_lmk_x_0", *names, "X_0", "p_0"]
    lines = [", ".join(header)]
    for frame, marks in rows.items():
        values = [frame, 0, 0.033, 0.98, success, 7.5, *marks.T.ravel(), -5.5, 0.1]
        lines.append(", ".join(str(value) for value in values))
    return "\n".join(lines) + "\n"


def written(tmp_path: Path, text: str, name: str = "EP01.txt") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("count", [68, 66])
def test_each_format_gives_the_same_points(tmp_path: Path, count: int) -> None:
    marks = points(count)
    comma = "\r\n".join(f"{x},{y}" for x, y in marks)
    spaced = "\ufeff\n" + plain(marks) + "\n\n"
    for text in (plain(marks), spaced, comma, pts(marks), openface({1: marks})):
        read = read_landmarks(written(tmp_path, text))
        assert read.dtype == np.float64
        np.testing.assert_array_equal(read, marks)


def test_openface_without_blanks_and_with_its_own_pts_header(tmp_path: Path) -> None:
    marks = points()
    text = openface({1: marks}).replace(", ", ",")
    np.testing.assert_array_equal(read_landmarks(written(tmp_path, text)), marks)
    text = pts(marks).replace("n_points", "npoints") + "pose: eul_x, eul_y, eul_z:\n{\n0.1 0.2 0.3\n}\n"
    np.testing.assert_array_equal(read_landmarks(written(tmp_path, text)), marks)


def test_the_row_of_the_frame_is_read(tmp_path: Path) -> None:
    rows = {number: points(seed=number) for number in (1, 2, 10)}
    path = written(tmp_path, openface(rows), "EP01.csv")
    np.testing.assert_array_equal(read_landmarks(path), rows[1])
    for number, marks in rows.items():
        np.testing.assert_array_equal(read_landmarks(path, frame=number), marks)
    with pytest.raises(MerError, match=r"EP01\.csv: no row for frame 3 of the 3; run OpenFace on the clip's"):
        read_landmarks(path, frame=3)


def test_a_single_row_and_one_without_frame_numbers_are_the_frame_wanted(tmp_path: Path) -> None:
    marks = points()
    np.testing.assert_array_equal(read_landmarks(written(tmp_path, openface({1: marks})), frame=46), marks)
    rows = openface({1: marks, 2: points(seed=1)}).replace("frame,", "face,", 1)
    np.testing.assert_array_equal(read_landmarks(written(tmp_path, rows), frame=46), marks)


def test_another_number_of_points_is_named(tmp_path: Path) -> None:
    for count in (0, 1, 5, 49, 67, 69):
        texts = [plain(points(count)), pts(points(count))]
        if count:
            texts.append(openface({1: points(count)}))
        for text in texts:
            with pytest.raises(MerError, match=rf"EP01\.txt: {count} landmarks; the scheme has 68 points"):
                read_landmarks(written(tmp_path, text))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_named(tmp_path: Path, value: str) -> None:
    lines = plain(points()).splitlines()
    lines[40] = f"1.0 {value}"
    with pytest.raises(MerError, match=r"EP01\.txt: point 41 is not finite; mark the face again"):
        read_landmarks(written(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize("line", ["a b", "1.0", "1 2 3", "1;2", "x,y"])
def test_a_line_that_is_no_point_is_named(tmp_path: Path, line: str) -> None:
    lines = plain(points()).splitlines()
    lines[6] = line
    with pytest.raises(MerError, match=rf"EP01\.txt: line 7 is '{line}' and not the x y of a landmark; give"):
        read_landmarks(written(tmp_path, "\n".join(lines)))


def test_openface_without_points_in_pixels_says_which_option_gives_them(tmp_path: Path) -> None:
    text = "frame, timestamp, confidence, success, pose_Rx\n1, 0, 0.9, 1, 0.1\n"
    with pytest.raises(MerError, match=r"line 1 is 'frame, timestamp, confidence, \.\.\.' .*\(-2Dfp\)"):
        read_landmarks(written(tmp_path, text))


def test_a_damaged_openface_file_is_named(tmp_path: Path) -> None:
    text = openface({1: points()})
    with pytest.raises(MerError, match=r"EP01\.txt: no row below the header"):
        read_landmarks(written(tmp_path, text.splitlines()[0]))
    with pytest.raises(MerError, match=r"EP01\.txt: column y_\d+ holds None, not a number; run OpenFace"):
        read_landmarks(written(tmp_path, text[: -len(text) // 4]))
    with pytest.raises(MerError, match=r"EP01\.txt: column y_67 holds None, not a number"):
        read_landmarks(written(tmp_path, text.replace("y_67", "z_67")))
    with pytest.raises(
        MerError, match=r"EP01\.txt: OpenFace found no face .* \(success 0\); remove the file"
    ):
        read_landmarks(written(tmp_path, openface({1: points()}, success=0)))


def test_a_cut_pts_file_is_named(tmp_path: Path) -> None:
    text = pts(points())
    with pytest.raises(MerError, match=r"EP01\.txt: this \.pts file is cut short"):
        read_landmarks(written(tmp_path, text.replace("}", "")))


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"gone\.txt: landmarks cannot be read \(No such file.*\); check"):
        read_landmarks(tmp_path / "gone.txt")
    (tmp_path / "EP01.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MerError, match=r"EP01\.txt: not a text file of landmarks"):
        read_landmarks(tmp_path / "EP01.txt")


def test_the_file_of_a_clip_is_found_with_and_without_its_database(tmp_path: Path) -> None:
    def find() -> Path | None:
        return find_landmarks(tmp_path, "casme2", "sub01", "EP02_01f")

    assert find() is None
    for folder in ("sub01", "casme2/sub01"):  # the more exact place goes first
        for suffix in ("txt", "pts", "csv"):
            path = tmp_path / folder / f"EP02_01f.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
            assert find() == path
            path.unlink()
        path.write_text("")
    (tmp_path / "casme2/sub01/EP02_01f.txt").write_text("")
    with pytest.raises(
        MerError, match=r"EP02_01f\.txt and EP02_01f\.csv are both .* casme2/sub01/EP02_01f; move"
    ):
        find()
    with pytest.raises(MerError, match=r"gone: no such folder of landmark files"):
        find_landmarks(tmp_path / "gone", "casme2", "sub01", "EP02_01f")


def test_a_huge_cell_is_named(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"EP01\.txt: not a table of landmarks \(field larger"):
        read_landmarks(written(tmp_path, "x_0,y_0\n" + "9" * 200_000 + ",1\n"))


@pytest.mark.parametrize(("subject", "clip"), [("../s2", "c1"), ("s1", "../../c1"), ("/etc", "c1")])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, subject: str, clip: str) -> None:
    with pytest.raises(MerError, match=r"the clip db/.* leads out of it; rename the clip"):
        find_landmarks(tmp_path, "db", subject, clip)
