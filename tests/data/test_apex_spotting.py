import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.data import apex_spotting
from mer.data.apex_spotting import (
    change,
    difference_curve,
    divide_and_conquer,
    find_peaks,
    regions,
    spot_apex,
    spot_missing,
    typical_regions,
)
from mer.data.clips import validate
from mer.data.face_crop import Face
from mer.data.frames import read_clip
from mer.data.roots import cache_dir
from mer.descriptors.lbp import lbp_codes, lbp_histograms
from mer.errors import MerError
from tests.trees import write_frames, write_png

APEX, FRAMES, SIDE = 6, 15, 112


def moving_mouth(seed: int = 0, *, apex: int = APEX, side: int = SIDE) -> NDArray[np.uint8]:
    """A clip (15, side, side) of smooth noise that moves down, up to the apex, and back, at the mouth."""
    rng = np.random.default_rng(seed)
    skin = cv2.GaussianBlur(rng.normal(128, 60, (side, side)).astype(np.float32), (0, 0), 1.2)
    x, y = np.meshgrid(*[np.arange(side, dtype=np.float32)] * 2)
    bump = np.exp(-(((x / side - 0.5) / 0.15) ** 2) - ((y / side - 0.78) / 0.08) ** 2).astype(np.float32)
    frames = []
    for t in range(FRAMES):
        strength = max(0.0, 1 - abs(t - apex) / 5)
        moved = cv2.remap(skin, x, y - 4 * strength * bump, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        frames.append(np.clip(np.rint(moved), 0, 255).astype(np.uint8))
    return np.stack(frames)


def curve(*heights: float) -> Tensor:
    return torch.tensor(heights, dtype=torch.float64)


# The curve.


def test_the_curve_is_1_minus_pearsons_correlation_averaged_over_regions() -> None:
    histograms = torch.rand(5, 3, 256, generator=torch.Generator().manual_seed(0))
    got = difference_curve(histograms)
    for t in range(1, 5):
        each = [np.corrcoef(histograms[0, r], histograms[t, r])[0, 1] for r in range(3)]
        assert got[t] == pytest.approx(1 - np.mean(each), abs=1e-7)
    assert got[0] == 0


def test_a_still_clip_has_a_curve_of_exact_zeros() -> None:
    frames = torch.from_numpy(moving_mouth()[:1]).repeat(6, 1, 1)
    assert torch.equal(change(frames, typical_regions((SIDE, SIDE))), torch.zeros(6, dtype=torch.float64))


def test_opposite_histograms_differ_by_2_and_flat_ones_correlate_with_none() -> None:
    rising, flat = torch.arange(4.0), torch.ones(4)
    histograms = torch.stack([rising, rising.flip(0), flat])[:, None]
    torch.testing.assert_close(difference_curve(histograms), curve(0, 2, 1))
    assert difference_curve(histograms[[2, 2, 0]]).tolist() == [0, 0, 1]


def test_only_the_regions_count() -> None:
    frames = torch.from_numpy(moving_mouth())
    eyes_and_mouth = typical_regions((SIDE, SIDE))
    histograms = lbp_histograms(lbp_codes(frames), eyes_and_mouth)
    assert difference_curve(histograms[:, :2]).max() == 0
    assert difference_curve(histograms[:, 2:])[APEX] > 0


@pytest.mark.parametrize("shape", [(0, 3, 256), (4, 0, 256), (4, 256)])
def test_histograms_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MerError, match=r"give histograms \(frames, regions, bins\)"):
        difference_curve(torch.ones(shape))


# Divide and conquer.


def test_many_late_peaks_outweigh_a_taller_early_one() -> None:
    # Frames      0  1  2  3  4  5  6  7  8  9 10   11 12 13 14 15
    heights = curve(0, 1, 5, 1, 1, 1, 1, 1, 1, 3, 1, 3.5, 1, 2, 1, 0)
    # 5 < 3 + 3.5 + 2: frames 8-15. 3 + 3.5 > 2: frames 8-11. 3 < 3.5: frames 10-11.
    assert divide_and_conquer(heights) == 11
    assert int(heights.argmax()) == 2
    # The other way round: of 16 frames 2 becomes 13, 11 becomes 4.
    assert divide_and_conquer(heights.flip(0)) == 4


def test_halves_without_peaks_are_thrown_away_first() -> None:
    # Peaks at 1 and 3 of 16 frames: 8-15, then 4-7 go; 0-1 holds 2, 2-3 holds 3.
    assert divide_and_conquer(curve(0, 2, 1, 3, *[0] * 12)) == 3


def test_the_middle_frame_of_an_odd_number_is_of_the_second_half() -> None:
    # Of 7 frames 0-2 and 3-6: 4 < 3 + 2; then 3-4 and 5-6. With the middle in the first half 1 would stay.
    assert divide_and_conquer(curve(0, 4, 0, 3, 0, 2, 0)) == 3


def test_of_equal_sums_the_first_half_is_kept() -> None:
    assert divide_and_conquer(curve(0, 2, 0, 0, 2, 0)) == 1


def test_a_plateau_is_one_peak_at_its_middle() -> None:
    assert divide_and_conquer(curve(0, 1, 3, 3, 3, 2, 0)) == 3
    assert divide_and_conquer(curve(0, 3, 3, 3, 3, 2, 0)) == 2
    # Counted as four peaks it would outweigh 5.
    assert divide_and_conquer(curve(0, 2, 2, 2, 2, 0, 5, 0, 0, 0)) == 6


@pytest.mark.parametrize(
    ("heights", "apex"),
    [
        ([0], 0),
        ([0, 0], 0),
        ([0, 1], 1),
        ([1, 0], 0),
        ([0, 1, 2, 3], 3),
        ([0, 1, 2, 2], 2),
        ([0, 0, 0, 0, 0], 0),
        ([3, 2, 1, 2], 0),
    ],
)
def test_curves_without_a_peak_give_the_first_maximum(heights: list[float], apex: int) -> None:
    assert divide_and_conquer(curve(*heights)) == apex


def test_a_peak_goes_before_a_higher_end() -> None:
    assert divide_and_conquer(curve(0, 2, 1, 9)) == 1


def test_every_curve_ends_at_one_of_its_peaks() -> None:
    rng = np.random.default_rng(0)
    for length in range(3, 60):
        heights = rng.integers(0, 4, length).astype(np.float64)
        peaks = []
        for t in range(length):
            before, after = t, t
            while before > 0 and heights[before - 1] == heights[t]:
                before -= 1
            while after < length - 1 and heights[after + 1] == heights[t]:
                after += 1
            inside = before > 0 and after < length - 1
            if inside and heights[t] > max(heights[before - 1], heights[after + 1]):
                peaks.append((before + after) // 2)
        assert find_peaks(heights).tolist() == sorted(set(peaks))
        apex = divide_and_conquer(torch.from_numpy(heights))
        assert apex in (peaks or [int(heights.argmax())])


@pytest.mark.parametrize("heights", [torch.ones(0), torch.ones(2, 2), curve(0, -1), curve(0, float("nan"))])
def test_what_is_no_curve_is_refused(heights: Tensor) -> None:
    with pytest.raises(MerError, match=r"a curve of shape .* has no apex"):
        divide_and_conquer(heights)


# The regions.


def polygons(right: tuple[float, float], left: tuple[float, float]) -> NDArray[np.float64]:
    ring = np.array([(-6, 0), (-2, -3), (2, -3), (6, 0), (2, 3), (-2, 3)])
    return np.stack([ring + right, ring + left])


def test_regions_of_level_eyes() -> None:
    # 100 pixels apart: half an eye region is 50 x 35, centred 15 above; half a mouth 60 x 35, 115 below.
    expected = [[50, 150, 100, 70], [150, 150, 100, 70], [90, 280, 120, 70]]
    eyes = polygons((100, 200), (200, 200))
    assert regions(eyes, (400, 500)).tolist() == expected
    assert regions(eyes[::-1], (400, 500)).tolist() == expected
    assert regions(eyes.tolist(), (400, 500)).dtype == torch.int64


def test_regions_are_clipped_to_the_frame() -> None:
    boxes = regions(polygons((100, 200), (200, 200)), (210, 300)).tolist()
    assert boxes == [[50, 150, 100, 70], [150, 150, 60, 70], [90, 280, 120, 20]]


def test_the_mouth_follows_a_tilted_head() -> None:
    # Eyes 100 apart on a slope of 4/3: below them is (-80, 60) a hundred pixels.
    boxes = regions(polygons((300, 200), (360, 280)), (900, 900))
    centres = (boxes[:, :2] + boxes[:, 2:] / 2).tolist()
    assert centres == [[312, 191], [372, 271], [330 - 92, 240 + 69]]


def test_an_average_face_lies_inside_its_regions() -> None:
    """Landmarks of the mean face of the 68-point scheme, as far as they bound brows, eyes and mouth."""
    boxes = regions(polygons((225, 216), (755, 216)), (1000, 1200))
    parts = [(0, 393, 19, 245), (587, 980, 19, 245), (254, 726, 727, 909)]
    for (x, y, width, height), (left, right, top, bottom) in zip(boxes.tolist(), parts, strict=True):
        assert x <= left < right <= x + width
        assert y <= top < bottom <= y + height


@pytest.mark.parametrize(
    ("eyes", "message"),
    [
        (np.zeros((2, 2)), r"two polygons of six points \(x, y\), not an array \(2, 2\)"),
        (np.full((2, 6, 2), np.nan), "two polygons of six points"),
        (polygons((50, 50), (50, 50)), r"both eyes have their centre at \[50\.0, 50\.0\]"),
        (polygons((50, 90), (90, 90)), "outside its 100x100 frame; correct the landmarks"),
    ],
)
def test_eyes_that_make_no_regions_are_refused(eyes: NDArray[np.float64], message: str) -> None:
    with pytest.raises(MerError, match=message):
        regions(eyes, (100, 100))


# A clip.


@pytest.mark.parametrize("apex", [4, 6, 9])
def test_the_apex_of_a_moving_mouth_is_found(apex: int) -> None:
    for seed in range(3):
        frames = torch.from_numpy(moving_mouth(seed, apex=apex))[:, None]
        assert abs(spot_apex(frames, typical_regions((SIDE, SIDE))) - apex) <= 1


# The table.


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """Four clips, a and c without apex; frames outside onset and offset belong to none of them."""
    rows: list[dict[str, Any]] = []
    for seed, name in enumerate("abcd"):
        folder = write_frames(tmp_path / name, range(7, 30, 22), size=(SIDE, SIDE), seed=seed)
        for number, image in enumerate(moving_mouth(seed), start=8):
            write_png(folder / f"img{number}.png", np.repeat(image[:, :, None], 3, axis=2))
        rows.append({"database": "d", "subject": "s", "clip": name, "label": "x", "frames": str(folder)})
    apexes = pd.array([None, 12, None, 9], dtype="Int64")
    table = pd.DataFrame(rows).assign(onset=8, apex=apexes, offset=22, fps=100)
    return validate(table, "t")


def spotted(clips: pd.DataFrame, faces: list[Face] | None = None) -> pd.DataFrame:
    return spot_missing(clips, faces, progress=False)


def cached() -> list[Path]:
    return sorted((cache_dir() / "apexes").iterdir())


def test_only_missing_apexes_are_filled(clips: pd.DataFrame) -> None:
    before = clips.copy()
    after = spotted(clips)
    pd.testing.assert_frame_equal(clips, before)
    pd.testing.assert_frame_equal(after.drop(columns="apex"), clips.drop(columns="apex"))
    assert after["apex"].dtype == "Int64"
    assert after["apex"].tolist()[1::2] == [12, 9]
    for k in (0, 2):
        frames = read_clip(Path(clips["frames"][k]), range(8, 23), grey=True)
        assert after["apex"][k] == 8 + spot_apex(frames, typical_regions((SIDE, SIDE)))
        assert abs(after["apex"][k] - (8 + APEX)) <= 1
    assert len(cached()) == 2


def test_a_table_without_gaps_reads_no_frame(clips: pd.DataFrame) -> None:
    full = clips.assign(apex=clips["onset"], frames="/no/such/folder")
    pd.testing.assert_frame_equal(spotted(full), full)


def test_the_rows_index_and_the_threads_do_not_matter(clips: pd.DataFrame, tmp_path: Path) -> None:
    expected = spotted(clips)["apex"].tolist()
    again = spot_missing(clips.iloc[::-1], threads=3, cache=tmp_path / "other", progress=False)
    assert again["apex"].tolist() == expected[::-1]
    assert again.index.tolist() == [3, 2, 1, 0]


def test_without_onset_and_offset_a_clip_is_its_whole_folder(clips: pd.DataFrame) -> None:
    """Frames 7 and 29 are noise, so that a curve which is measured from frame 7 has another peak."""
    nothing = pd.array([None], dtype="Int64")
    whole = clips.iloc[[0]].assign(onset=nothing, offset=nothing)
    frames = read_clip(Path(clips["frames"][0]), [*range(7, 23), 29], grey=True)
    apex = [*range(7, 23), 29][spot_apex(frames, typical_regions((SIDE, SIDE)))]
    assert spotted(whole)["apex"].tolist() == [apex]
    assert spotted(clips.iloc[[0]])["apex"].tolist() != [apex]


def test_a_clip_of_one_frame_has_its_apex_there(clips: pd.DataFrame) -> None:
    """Onset and offset belong to the clip."""
    assert spotted(clips.assign(onset=9, offset=9))["apex"].tolist() == [9, 12, 9, 9]


def test_a_part_of_a_video_is_a_clip_of_its_own(clips: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (SIDE, SIDE))
    for image in [*moving_mouth(0), *moving_mouth(1, apex=9)]:
        video.write(np.repeat(image[:, :, None], 3, axis=2))
    video.release()
    both = clips.iloc[[0, 2]].assign(frames=str(path), onset=[1, FRAMES + 1], offset=[FRAMES, 2 * FRAMES])
    first, second = spotted(both)["apex"].tolist()
    assert abs(first - (1 + APEX)) <= 1
    assert abs(second - (FRAMES + 1 + 9)) <= 1
    assert len(cached()) == 2


def test_the_number_is_that_of_a_frame_that_is_there(clips: pd.DataFrame) -> None:
    folder = Path(clips["frames"][0])
    (folder / "img10.png").unlink()
    numbers = [8, 9, *range(11, 23)]
    frames = read_clip(folder, numbers, grey=True)
    apex = numbers[spot_apex(frames, typical_regions((SIDE, SIDE)))]
    assert apex > 10
    assert spotted(clips)["apex"][0] == apex


def test_faces_decide_crop_and_regions(clips: pd.DataFrame) -> None:
    """Padded to four times the area, a clip gives the same apex only under its face."""
    eyes = tuple(tuple(map(tuple, eye)) for eye in polygons((36, 44), (76, 44)).tolist())
    own = Face("whole frame", (1, 0, 0, 0, 1, 0), (SIDE, SIDE), eyes, "landmarks")
    shifted = Face("haar", (1, 0, -60, 0, 1, -30), (SIDE, SIDE), eyes, "landmarks")
    expected = spotted(clips, [own] * 4)["apex"].tolist()
    for folder in clips["frames"]:
        for path in Path(folder).iterdir():
            image = cv2.imread(str(path))
            assert image is not None
            write_png(path, np.pad(image, ((30, 82), (60, 52), (0, 0))).astype(np.uint8))
    assert spotted(clips, [shifted] * 4)["apex"].tolist() == expected
    assert len(cached()) == 4
    # With small eyes at the top the mouth's region is where nothing moves.
    eyes = tuple(tuple(map(tuple, eye)) for eye in polygons((50, 12), (62, 12)).tolist())
    above = Face("haar", shifted.matrix, shifted.size, eyes, "landmarks")
    assert spotted(clips, [above] * 4)["apex"].tolist() == [8, 12, 8, 9]


# The cache.


def test_a_second_call_reads_the_cache(clips: pd.DataFrame) -> None:
    first = spotted(clips)
    for path in cached():
        assert json.loads(path.read_text())["apex"] in first["apex"].tolist()
        path.write_text(json.dumps({"apex": 21, "sha256": hashlib.sha256(b"21").hexdigest()}))
    assert spotted(clips)["apex"].tolist() == [21, 12, 21, 9]


@pytest.mark.parametrize(
    "content", ["", "{", "null", "[]", "{}", '{"apex": null}', '{"apex": true}', '{"apex": 29}', "\xff"]
)
def test_a_damaged_file_is_made_anew(clips: pd.DataFrame, content: str) -> None:
    first = spotted(clips)
    good = [path.read_bytes() for path in cached()]
    for path in cached():
        path.write_bytes(content.encode("latin-1"))
    pd.testing.assert_frame_equal(spotted(clips), first)
    assert [path.read_bytes() for path in cached()] == good


def test_a_changed_frame_offset_or_face_is_another_apex(
    clips: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = clips.iloc[[0]]
    eyes = tuple(tuple(map(tuple, eye)) for eye in polygons((36, 44), (76, 44)).tolist())
    face = Face("whole frame", (1, 0, 0, 0, 1, 0), (SIDE, SIDE), eyes, "landmarks")
    spotted(one)
    os.utime(Path(one["frames"][0]) / "img29.png", ns=(1, 1))  # no frame of the clip
    spotted(one)
    assert len(cached()) == 1
    spotted(one, [face])
    spotted(one.assign(offset=21))
    spotted(one.assign(onset=9))
    os.utime(Path(one["frames"][0]) / "img10.png", ns=(1, 1))
    spotted(one)
    monkeypatch.setattr(apex_spotting, "FORMAT", apex_spotting.FORMAT + 1)
    spotted(one)
    assert len(cached()) == 6


# Errors.


def test_encoded_images_have_no_apex(clips: pd.DataFrame) -> None:
    with pytest.raises(MerError, match="published as images that are already encoded"):
        spotted(clips.rename(columns={"frames": "image"}))


def test_a_face_too_few_is_refused(clips: pd.DataFrame) -> None:
    with pytest.raises(MerError, match="0 faces for 4 clips"):
        spotted(clips, [])


def test_a_clip_without_frames_is_named(clips: pd.DataFrame) -> None:
    with pytest.raises(
        MerError, match=r"a: clip d/s/a has no frame between its onset 100 and its offset 110"
    ):
        spotted(clips.assign(onset=100, offset=110))


def test_a_damaged_frame_is_named(clips: pd.DataFrame) -> None:
    path = Path(clips["frames"][2]) / "img15.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MerError, match=r"c/img15\.png: this image is cut short"):
        spotted(clips)


def test_a_cache_that_cannot_be_written_is_named(clips: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(MerError, match=r"file/apexes/\w+\.json: the spotted apex cannot be written"):
        spot_missing(clips, cache=file, progress=False)
