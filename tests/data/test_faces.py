import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

from mer.data import faces
from mer.data.clips import validate
from mer.data.face_detection import TYPICAL, find_eyes, find_face
from mer.data.faces import Face, FaceOptions, cut, eye_polygons, locate, locate_all
from mer.errors import MerError
from tests.trees import write_png

Image = NDArray[np.uint8]
AUTO = FaceOptions()
# Read off the picture: the pupils of the right and the left eye, and the corners of the mouth.
PUPILS = ((203, 101), (247, 103))
MOUTH = ((205, 142), (242, 142))


@pytest.fixture(scope="module")
def astronaut() -> Image:
    """A real face, (3, 512, 512)."""
    picture: Image = skimage.data.astronaut().transpose(2, 0, 1)  # type: ignore[no-untyped-call]
    return picture


def grey_of(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image.transpose(1, 2, 0), cv2.COLOR_RGB2GRAY), np.uint8)[None]


def resized(image: Image, width: int, height: int) -> Image:
    picture = cv2.resize(image.transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(picture, np.uint8).transpose(2, 0, 1)


def turned(image: Image, degrees: float) -> Image:
    """Counter-clockwise, about the astronaut's nose."""
    turn = cv2.getRotationMatrix2D((225, 120), degrees, 1)
    return np.asarray(cv2.warpAffine(image.transpose(1, 2, 0), turn, (512, 512)), np.uint8).transpose(2, 0, 1)


def noise(height: int = 60, width: int = 80, channels: int = 3) -> Image:
    return np.random.default_rng(0).integers(0, 256, (channels, height, width), np.uint8)


def marks(*, left: float = 20.25, top: float = 10.5, width: float = 40, height: float = 36) -> Any:
    """68 points that fill a box; the eyes lie a little askew in it."""
    places = np.random.default_rng(0).uniform(0, 1, (68, 2))
    places[:2] = [(0, 0), (1, 1)]
    eye = np.array([(-0.1, 0), (-0.04, -0.05), (0.04, -0.05), (0.1, 0), (0.04, 0.05), (-0.04, 0.05)])
    places[36:42] = eye + np.array([0.3, 0.35])
    places[42:48] = eye + np.array([0.7, 0.45])
    return places * (width, height) + (left, top)


def moved(face: Face, points: Any) -> NDArray[np.float64]:
    """Points under the face's matrix, written out."""
    a, b, c, d, e, f = face.matrix
    x, y = np.asarray(points, float)[..., 0], np.asarray(points, float)[..., 1]
    return np.stack([a * x + b * y + c, d * x + e * y + f], -1)


def inside(point: tuple[float, float], polygon: Any) -> bool:
    return cv2.pointPolygonTest(np.array(polygon, np.float32), point, False) >= 0


# The Haar detector, on a real face.


@pytest.mark.parametrize("grey", [True, False])
def test_the_astronaut_is_found_with_both_eyes(astronaut: Image, grey: bool) -> None:
    picture = grey_of(astronaut) if grey else astronaut
    face = locate(picture, None, AUTO, cropped=False)
    assert (face.method, face.eyes_from) == ("haar", "haar")
    width, height = face.size
    for x, y in moved(face, [*PUPILS, *MOUTH]):
        assert 0 < x < width
        assert 0 < y < height
    assert width < 3 * (PUPILS[1][0] - PUPILS[0][0])  # a face is not much wider than twice the eyes' distance
    right, left = np.array(face.eyes)
    assert right.max(0)[0] < width / 2 < left.min(0)[0]
    assert max(right.mean(0)[1], left.mean(0)[1]) < height / 2
    for polygon, pupil in zip(face.eyes, moved(face, PUPILS), strict=True):
        assert inside((float(pupil[0]), float(pupil[1])), polygon)
        assert np.ptp(np.array(polygon), 0).max() < width / 3
    left_edge, top = -int(face.matrix[2]), -int(face.matrix[5])
    expected = picture[:, top : top + height, left_edge : left_edge + width]
    np.testing.assert_array_equal(cut(picture, face), expected)


def test_large_and_small_frames_find_the_same_face(astronaut: Image) -> None:
    face = locate(astronaut, None, AUTO, cropped=False)
    for scale in (0.4, 3):
        picture = resized(astronaut, round(scale * 512), round(scale * 512))
        again = locate(picture, None, AUTO, cropped=False)
        assert (again.method, again.eyes_from) == ("haar", "haar")
        # The cascade looks at sizes that are 1.1 apart.
        box, expected = (np.array([*it.size, *it.matrix[2::3]]) for it in (again, face))
        np.testing.assert_allclose(box / scale, expected, atol=0.13 * face.size[0])


def test_the_haar_eyes_follow_the_head_and_align_levels_them(astronaut: Image) -> None:
    slopes = []
    for angle in (0, 10):
        picture = turned(astronaut, angle)
        right, left = np.array(locate(picture, None, AUTO, cropped=False).eyes).mean(1)
        slopes.append(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
        level = locate(picture, None, FaceOptions(align=True), cropped=False)
        right, left = np.array(level.eyes).mean(1)
        assert right[1] == pytest.approx(left[1], abs=1e-6)
        # The crop that is cut shows them where the face says.
        found = find_eyes(grey_of(cut(picture, level))[0], (0, 0, *level.size))
        assert found is not None
        for (x, y, width, height), centre in zip(found, (right, left), strict=True):
            np.testing.assert_allclose((x + width / 2, y + height / 2), centre, atol=4)
    assert slopes[0] - slopes[1] == pytest.approx(10, abs=3)  # y is down


def test_typical_eyes_are_the_medians_of_a_hundred_faces() -> None:
    # Every fifth face: enough to come as near as this.
    found = []
    for small in skimage.data.lfw_subset()[:100:5]:  # type: ignore[no-untyped-call]
        large = cv2.resize((small * 255).round().astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
        grey = np.pad(np.asarray(large, np.uint8), 60, mode="edge")
        if (box := find_face(grey)) and (eyes := find_eyes(grey, box)):
            found.append((np.array(eyes) - (*box[:2], 0, 0)) / box[2])
    assert len(found) > 15
    np.testing.assert_allclose(np.median(found, 0), TYPICAL, atol=0.04)
    (right, left) = TYPICAL
    assert left == pytest.approx((1 - right[0] - right[2], *right[1:]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_blank_picture_has_no_face(channels: int) -> None:
    blank = np.full((channels, 48, 64), 127, np.uint8)
    face = locate(blank, None, AUTO, cropped=False)
    assert (face.method, face.eyes_from, face.size) == ("not found", "typical", (64, 48))
    assert face.matrix == (1, 0, 0, 0, 1, 0)
    np.testing.assert_array_equal(cut(blank, face), blank)
    for polygon, (x, y, width, height) in zip(face.eyes, TYPICAL, strict=True):
        middle = np.multiply((x + width / 2, y + height / 2), (64, 48)) - 0.5
        np.testing.assert_allclose(np.mean(polygon, 0), middle)


@pytest.mark.parametrize("size", [(28, 28), (96, 96), (340, 280)])
def test_a_cropped_clip_is_taken_whole_and_its_eyes_are_found(
    astronaut: Image, size: tuple[int, int]
) -> None:
    height, width = size
    frame = resized(astronaut[:, 66:166, 177:277], width, height)
    face = locate(frame, None, FaceOptions(align=True), cropped=True)
    assert (face.method, face.eyes_from, face.size) == ("whole frame", "haar", (width, height))
    np.testing.assert_array_equal(cut(frame, face), frame)
    for (x, y), polygon in zip(PUPILS, face.eyes, strict=True):
        assert inside(((x - 177) * width / 100, (y - 66) * height / 100), polygon)


def test_without_a_crop_the_eyes_are_looked_for_in_the_face(astronaut: Image) -> None:
    face = locate(astronaut, None, FaceOptions(method="none"), cropped=False)
    assert (face.method, face.eyes_from, face.size) == ("whole frame", "haar", (512, 512))
    for pupil, polygon in zip(PUPILS, face.eyes, strict=True):
        assert inside(pupil, polygon)
    blank = locate(np.zeros((1, 50, 40), np.uint8), None, FaceOptions(method="none"), cropped=False)
    assert (blank.method, blank.eyes_from) == ("whole frame", "typical")


# Crops by landmarks.


def test_landmarks_and_margins_make_the_box() -> None:
    # The points fill x 20.25..60.25 and y 10.5..46.5: the pixels 20..61 and 10..47.
    face = locate(noise(), marks(), FaceOptions(margins=(7, 1, 2, 3)), cropped=False)
    assert (face.method, face.eyes_from) == ("landmarks", "landmarks")
    assert face.matrix == (1, 0, -(20 - 2), 0, 1, -(10 - 7))
    assert face.size == (42 + 2 + 3, 38 + 7 + 1)
    np.testing.assert_array_equal(cut(noise(), face), noise()[:, 3:49, 18:65])
    default = locate(noise(), marks(), AUTO, cropped=False)
    assert default.matrix == (1, 0, -(20 - 5), 0, 1, -(10 - 25))
    assert default.size == (42 + 10, 38 + 25)


@pytest.mark.parametrize("align", [True, False])
def test_eyes_are_points_37_to_48_in_the_crop(align: bool) -> None:
    face = locate(noise(), marks(), FaceOptions(align=align), cropped=False)
    np.testing.assert_allclose(face.eyes, moved(face, marks()[36:48]).reshape(2, 6, 2), atol=1e-9)
    polygons = eye_polygons([face, face])
    assert (polygons.shape, polygons.dtype) == ((2, 2, 6, 2), torch.float32)
    torch.testing.assert_close(polygons[1].double(), torch.tensor(face.eyes, dtype=torch.float64))
    assert eye_polygons([]).shape == (0, 2, 6, 2)


def test_66_points_give_the_same_eyes() -> None:
    full, drmf = marks(), np.delete(marks(), (60, 64), 0)
    assert locate(noise(), drmf, AUTO, cropped=False).eyes == locate(noise(), full, AUTO, cropped=False).eyes


def test_align_turns_about_the_point_between_the_eyes() -> None:
    face = locate(noise(), marks(), FaceOptions(align=True, margins=(0, 0, 0, 0)), cropped=False)
    right, left = moved(face, marks()[36:48]).reshape(2, 6, 2).mean(1)
    assert right[1] == pytest.approx(left[1], abs=1e-6)
    before = marks()[36:48].reshape(2, 6, 2).mean(1)
    assert left[0] - right[0] == pytest.approx(np.hypot(*(before[1] - before[0])))  # nothing is scaled
    turn = np.array(face.matrix).reshape(2, 3)[:, :2]
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    # Turned about their midpoint, which stays: the crop then moves it by whole pixels.
    offset = (right + left) / 2 - before.mean(0)
    np.testing.assert_allclose(offset, offset.round(), atol=1e-9)
    # All points lie in the crop, and no smaller one holds them.
    points, last = moved(face, marks()), np.array(face.size) - 1
    assert ((points.min(0) >= 0) & (points.min(0) < 1)).all()
    assert ((points.max(0) <= last) & (points.max(0) > last - 1)).all()


def test_level_eyes_are_not_interpolated() -> None:
    points = marks()
    points[42:48, 1] = points[36:42, 1]
    level = locate(noise(), points, FaceOptions(align=True), cropped=False)
    assert level == locate(noise(), points, AUTO, cropped=False)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_turned_crop_shows_each_place_where_the_matrix_says(channels: int) -> None:
    places = np.array([(30.0, 22.0), (50.0, 18.0), (41.0, 40.0)])
    points = marks()
    y, x = np.mgrid[:60, :80]
    face = locate(noise(channels=channels), points, FaceOptions(align=True), cropped=False)
    for place in places:
        blob = 255 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 2**2))
        crop = cut(np.repeat(blob.round().astype(np.uint8)[None], channels, 0), face).astype(float)
        assert crop.shape == (channels, face.size[1], face.size[0])
        rows, columns = np.mgrid[: face.size[1], : face.size[0]]
        for plane in crop:
            centre = np.array([(columns * plane).sum(), (rows * plane).sum()]) / plane.sum()
            np.testing.assert_allclose(centre, moved(face, place), atol=0.05)


def test_a_turned_crop_keeps_the_channels_apart() -> None:
    image = np.stack([np.full((60, 80), value, np.uint8) for value in (10, 20, 200)])
    crop = cut(image, locate(image, marks(), FaceOptions(align=True), cropped=False))
    assert [np.unique(plane).tolist() for plane in crop] == [[10], [20], [200]]


@pytest.mark.parametrize(("left", "top"), [(-3, -4), (50, 30), (-3, 30), (-90, 5), (200, 300), (-10, -10)])
def test_beyond_the_frame_its_edge_is_repeated(left: int, top: int) -> None:
    width, height = (100, 120) if left == -10 else (45, 40)
    face = Face("landmarks", (1, 0, -left, 0, 1, -top), (width, height), (), "landmarks")
    wide = np.pad(noise(), ((0, 0), (400, 400), (400, 400)), mode="edge")
    expected = wide[:, 400 + top : 400 + top + height, 400 + left : 400 + left + width]
    np.testing.assert_array_equal(cut(noise(), face), expected)


def test_the_method_decides_the_crop_and_landmarks_the_eyes(astronaut: Image) -> None:
    points = marks(left=180, top=90, width=90, height=70)
    for options, cropped, method, eyes_from in (
        (AUTO, False, "landmarks", "landmarks"),
        (AUTO, True, "whole frame", "landmarks"),
        (FaceOptions(method="landmarks"), False, "landmarks", "landmarks"),
        (FaceOptions(method="none"), False, "whole frame", "landmarks"),
        (FaceOptions(method="haar"), False, "haar", "haar"),
    ):
        face = locate(astronaut, points, options, cropped=cropped)
        assert (face.method, face.eyes_from) == (method, eyes_from)
    with pytest.raises(MerError, match=r"faces\.method=landmarks, but no landmarks are given"):
        locate(astronaut, None, FaceOptions(method="landmarks"), cropped=False)


def test_landmarks_of_another_frame_are_refused() -> None:
    for points in (marks(left=300), marks(top=-60), marks(width=4000, height=3000)):
        with pytest.raises(MerError, match=r"outside the frame of 80x60; the landmarks are of other frames"):
            locate(noise(), points, AUTO, cropped=False)
    mirrored = marks() * (-1, 1) + (80, 0)
    for points in (mirrored, np.full((68, 2), 30.0)):
        with pytest.raises(
            MerError, match="points 37-42 lie to the right of 43-48; the landmarks are not in"
        ):
            locate(noise(), points, AUTO, cropped=False)


def test_options_are_checked() -> None:
    with pytest.raises(MerError, match=r"faces\.method='dlib': choose auto, landmarks, haar, none"):
        FaceOptions(method="dlib")  # type: ignore[arg-type]
    for margins in ((1, 2, 3), (1, 2, 3, -4), (1, 2, 3, 4.5), 5):
        with pytest.raises(MerError, match=r"faces\.margins=.*: give whole pixels at the top, bottom, left"):
            FaceOptions(margins=margins)  # type: ignore[arg-type]
    given = FaceOptions(margins=[1, 2, 3, 4], landmarks="~/marks")  # type: ignore[arg-type]
    assert given == FaceOptions(margins=(1, 2, 3, 4), landmarks=Path.home() / "marks")


# A table of clips.


def write_marks(path: Path, points: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{x:.7e} {y:.7e}\n" for x, y in points))
    return path


@pytest.fixture
def clips(tmp_path: Path, astronaut: Image) -> pd.DataFrame:
    """s1 shows the face, s2 only at the apex, s3 nowhere; s4 is cropped; s5 has landmarks of its own."""
    shown = astronaut[::-1, 20:220, 120:340].transpose(1, 2, 0)  # B, G, R
    blank = np.full_like(shown, 90)
    rows = []
    for subject, pictures in {
        "s1": [blank, shown, shown, blank],  # the folder begins before the onset
        "s2": [blank, blank, shown, blank],
        "s3": [blank] * 4,
        "s4": [shown[46:146, 57:157]] * 4,
        "s5": [shown] * 4,
    }.items():
        folder = tmp_path / "frames" / subject / "EP01"
        for number, picture in enumerate(pictures, start=9):
            write_png(folder / f"img{number}.png", picture)
        rows.append({"subject": subject, "frames": str(folder), "cropped": subject == "s4"})
    table = pd.DataFrame(rows).assign(database="d", clip="EP01", label="x", onset=10, apex=11, offset=12)
    shipped = write_marks(tmp_path / "shipped.txt", marks(left=60, top=70, width=80, height=80))
    table["landmarks"] = [None, None, None, None, str(shipped)]
    return validate(table.assign(fps=200), "t")


def found(clips: pd.DataFrame, options: FaceOptions = AUTO, **given: Any) -> list[Face]:
    return locate_all(clips, options, progress=False, **{"threads": 2, **given})


def files() -> list[Path]:
    return sorted(Path(os.environ["MER_CACHE"], "faces").iterdir())


def test_each_row_has_its_face_in_the_order_of_the_table(clips: pd.DataFrame) -> None:
    got = found(clips)
    assert [face.method for face in got] == ["haar", "haar", "not found", "whole frame", "landmarks"]
    assert got[1] == got[0]
    assert got[3].size == (100, 100)
    assert got[4].matrix == (1, 0, -(60 - 5), 0, 1, -(70 - 25))
    again = found(clips.iloc[::-1].reset_index(drop=True), threads=1)
    assert again[::-1] == got


def test_other_frames_are_tried_where_the_onset_shows_no_face(clips: pd.DataFrame, tmp_path: Path) -> None:
    one = clips.iloc[[1]]
    folder = Path(one["frames"].iloc[0])
    assert found(one.assign(apex=None))[0].method == "haar"  # 11 is the middle of 10..12
    assert found(one.assign(apex=None, offset=11))[0].method == "haar"
    (folder / "img12.png").rename(folder / "img13.png")  # a gap: passed over
    assert found(one.assign(apex=12, offset=13))[0].method == "haar"
    assert found(one.assign(onset=9, apex=10, offset=10))[0].method == "not found"


def test_without_an_onset_the_first_frame_is_searched(clips: pd.DataFrame) -> None:
    one = clips.iloc[[0]].assign(onset=None, apex=None, offset=9)
    assert found(one)[0].method == "not found"
    (Path(one["frames"].iloc[0]) / "img9.png").unlink()
    assert found(one.assign(offset=None))[0].method == "haar"


def test_without_the_column_clips_are_cropped(clips: pd.DataFrame) -> None:
    got = found(clips.drop(columns=["cropped", "landmarks"]))
    assert {face.method for face in got} == {"whole frame"}


def test_the_face_of_a_video_is_found_and_kept(astronaut: Image, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "EP01.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 256))
    shown = astronaut[::-1, :256, 100:356].transpose(1, 2, 0)
    for picture in (np.zeros_like(shown), shown):
        video.write(np.ascontiguousarray(picture))
    video.release()
    one = clips.iloc[[0]].assign(frames=str(path), onset=2, apex=None, offset=None)
    (face,) = found(one)
    assert (face.method, face.eyes_from) == ("haar", "haar")
    assert found(one.assign(onset=None)) == [face]  # the middle of a black first frame and the face
    assert found(one) == [face]
    assert len(files()) == 2


def test_the_user_s_landmarks_go_before_those_of_the_database(clips: pd.DataFrame, tmp_path: Path) -> None:
    write_marks(tmp_path / "mine/s1/EP01.txt", marks(left=70, top=75, width=50, height=60))
    write_marks(tmp_path / "mine/d/s5/EP01.pts", marks(left=90, top=80, width=50, height=60))
    got = found(clips, FaceOptions(landmarks=tmp_path / "mine", margins=(0, 0, 0, 0)))
    assert [face.matrix[2::3] for face in got[::4]] == [(-70, -75), (-90, -80)]
    assert [face.method for face in found(clips, FaceOptions(method="haar"))] == [
        *["haar", "haar", "not found", "whole frame", "haar"]
    ]


def test_the_row_of_openface_is_the_onset_s_place_in_the_folder(clips: pd.DataFrame, tmp_path: Path) -> None:
    header = ["frame", *(f"{axis}_{k}" for axis in "xy" for k in range(68))]
    rows = [
        [place, *marks(left=70.25 + place, top=70.5, width=50, height=60).T.ravel()] for place in (1, 2, 3, 4)
    ]
    path = tmp_path / "mine/s1/EP01.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=header).to_csv(path, index=False)
    options = FaceOptions(landmarks=tmp_path / "mine", margins=(0, 0, 0, 0))
    # The frames are 9, 10, 11 and 12, and the onset is 10: the second.
    assert found(clips.iloc[[0]], options)[0].matrix[2] == -(70 + 2)


def test_a_missing_landmark_file_is_an_error_where_landmarks_are_asked_for(
    clips: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(
        MerError, match=r"s1/EP01\.txt: no landmark file of d/s1/EP01; add it \(\.txt, \.pts, \.csv"
    ):
        found(clips, FaceOptions(method="landmarks"))
    with pytest.raises(MerError, match=rf"{tmp_path}/s1/EP01\.txt: no landmark file of d/s1/EP01"):
        found(clips, FaceOptions(method="landmarks", landmarks=tmp_path))
    gone = clips.iloc[[4]].assign(landmarks="/gone.txt")
    assert found(gone)[0].method == "haar"
    with pytest.raises(MerError, match=r"/gone\.txt: no landmark file of d/s5/EP01"):
        found(gone, FaceOptions(method="landmarks"))
    with pytest.raises(MerError, match=r"/nowhere: no such folder of landmark files; check"):
        found(clips, FaceOptions(landmarks=Path("/nowhere")))


def test_errors_name_the_file_and_the_clip(clips: pd.DataFrame, tmp_path: Path) -> None:
    write_marks(tmp_path / "mine/s2/EP01.txt", marks(left=900))
    with pytest.raises(
        MerError, match=r"mine/s2/EP01\.txt: d/s2/EP01: the eyes lie .* outside the frame of 220x200"
    ):
        found(clips, FaceOptions(landmarks=tmp_path / "mine"))
    clips = clips.iloc[[0]]
    with pytest.raises(MerError, match=r"s1/EP01: no frame 7 .*check the clip's onset"):
        found(clips.assign(onset=7))
    with pytest.raises(MerError, match=r"/gone: no such folder of frames"):
        found(clips.assign(frames="/gone"))
    (tmp_path / "mer-cache").write_text("a file in the folder's place")
    with pytest.raises(MerError, match=r"faces/\w+\.json: the faces cannot be written .* set MER_CACHE"):
        found(clips)


# The cache.


def test_a_second_call_reads_the_cache(clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found(clips)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(faces, "read_clip", refuse)
    assert found(clips) == first
    assert found(clips, threads=1) == first
    assert len(files()) == 1
    with pytest.raises(AssertionError, match="a frame was decoded"):
        found(clips, FaceOptions(align=True))


def test_a_cache_of_one_s_own(clips: pd.DataFrame, tmp_path: Path) -> None:
    first = found(clips, cache=tmp_path / "own")
    assert len(list((tmp_path / "own/faces").glob("*.json"))) == 1
    assert not Path(os.environ["MER_CACHE"]).exists()
    assert found(clips, cache=tmp_path / "own") == first


def test_a_damaged_cache_is_found_again(clips: pd.DataFrame) -> None:
    clips = clips.iloc[[4, 4]]  # with landmarks: quick to find
    first = found(clips)
    (file,) = files()
    whole = file.read_bytes()
    content = json.loads(whole)
    digit = whole.index(str(content["faces"][0][2][0]).encode(), whole.index(b"faces"))
    changed = bytearray(whole)
    changed[digit] ^= 1  # another number, and still JSON
    assert json.loads(bytes(changed)) != content
    short = json.dumps(content | {"faces": content["faces"][:-1]}).encode()
    for damaged in (
        b"",
        whole[: len(whole) // 2],
        bytes(changed),
        short,
        b"[]",
        b"null",
        b"\xff",
        b'{"faces": 1}',
    ):
        file.write_bytes(damaged)
        assert found(clips) == first
        assert file.read_bytes() == whole
    assert files() == [file]  # no scratch file stays


def test_a_changed_file_row_or_option_is_another_key(clips: pd.DataFrame, tmp_path: Path) -> None:
    clips = clips.iloc[[4]].reset_index(drop=True)  # with landmarks: quick to find

    def keys() -> int:
        found(clips)
        return len(files())

    assert keys() == 1
    onset = Path(clips["frames"][0]) / "img10.png"
    os.utime(onset, ns=(1, 1))
    assert keys() == 2
    os.utime(Path(clips["frames"][0]) / "img11.png", ns=(1, 1))  # the apex, which is tried too
    assert keys() == 3
    onset.write_bytes(onset.read_bytes() + b"longer")
    os.utime(onset, ns=(1, 1))
    assert keys() == 4
    write_marks(Path(clips["landmarks"][0]), marks(left=61, top=70, width=80, height=80))
    assert keys() == 5
    assert found(clips)[0].matrix[2] == -(61 - 5)
    found(clips.assign(onset=11))
    found(clips.assign(cropped=True))
    found(clips, FaceOptions(margins=(0, 0, 0, 0)))
    found(clips, FaceOptions(align=True))
    found(clips, FaceOptions(method="none"))
    assert keys() == 10
    found(clips.assign(label="y"))  # labels do not matter
    write_marks(tmp_path / "mine/s5/EP01.txt", marks(left=70, top=75, width=50, height=60))
    assert keys() == 10
    found(clips, FaceOptions(landmarks=tmp_path / "mine"))
    assert keys() == 11


def test_a_point_far_outside_the_frame_makes_no_giant_crop() -> None:
    points = np.column_stack([np.linspace(10, 50, 68), np.full(68, 20.0)])
    points[0] = 1e9, 20
    image = np.zeros((1, 64, 64), np.uint8)
    with pytest.raises(MerError, match=r"a landmark lies at 1e\+09, 20, far outside the frame of 64x64"):
        locate(image, points, FaceOptions(method="landmarks"), cropped=False)
