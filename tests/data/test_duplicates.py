"""One frame under two names is found, and two people are never taken for one."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage
from numpy.typing import NDArray

from mer.data import duplicates
from mer.data.clips import validate
from mer.data.duplicates import (
    SAME,
    check_apart,
    check_duplicates,
    duplicate_findings,
    find_duplicates,
    fingerprints,
)
from mer.data.frames import list_frames, read_frame
from mer.data.megc2019_uvos import read_clips as read_flow
from mer.data.splits import Split, loso
from mer.data.synthetic import read_clips, write_synthetic
from mer.errors import MerError

Picture = NDArray[np.uint8]
Change = Callable[[Picture], Picture]


def jpeg(quality: int) -> Change:
    def change(picture: Picture) -> Picture:
        _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        assert decoded is not None
        return np.asarray(decoded, np.uint8)

    return change


def half(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def brighter(picture: Picture) -> Picture:
    return (picture * 1.2).clip(0, 255).astype(np.uint8)


def images(folder: Path, pictures: dict[str, Picture]) -> pd.DataFrame:
    """A clip table of images, ``<database>/<subject>/<clip>`` each."""
    rows = []
    for name, picture in pictures.items():
        path = folder / f"{name.replace('/', '_')}.png"
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture)
        keys = dict(zip(("database", "subject", "clip"), name.split("/"), strict=True))
        rows.append(keys | {"label": "x", "image": str(path)})
    return validate(pd.DataFrame(rows).assign(onset=None, apex=None, offset=None, fps=None), "t")


def noise(seed: int, size: int = 40) -> Picture:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size)), np.uint8)


def distances(pictures: list[Picture], others: list[Picture]) -> NDArray[np.float32]:
    """(N, M) as the module measures them."""

    def looks(some: list[Picture]) -> NDArray[np.float32]:
        small = [cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1) for picture in some]
        return duplicates._looks(np.stack(small))

    one, other = looks(pictures), looks(others)
    return np.stack([np.abs(row - other).max(axis=1) for row in one])


def onsets(clips: pd.DataFrame, later: int = 0) -> list[Picture]:
    return [
        read_frame(list_frames(Path(place))[onset + later], grey=True)[0]
        for place, onset in zip(clips["frames"], clips["onset"], strict=True)
    ]


def test_the_real_flow_images_hold_no_clip_twice(megc2019_uvos: Path) -> None:
    clips = read_flow(megc2019_uvos)
    assert len(find_duplicates(clips)) == 0
    pictures = [read_frame(Path(path), grey=True)[0] for path in clips["image"]]
    subject = (clips["database"] + clips["subject"]).to_numpy()
    assert distances(pictures, pictures)[subject[:, None] != subject].min() > 3 * SAME
    # Saved again, nearly all would be found.
    colour = [cv2.imread(path) for path in clips["image"]]
    saved = [jpeg(90)(np.asarray(image, np.uint8)) for image in colour]
    grey = [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in saved]
    assert np.mean(np.diag(distances(pictures, grey)) <= SAME) > 0.99


def test_real_faces_are_far_from_one_another() -> None:
    faces = np.load(Path(skimage.__file__).parent / "data/lfw_subset.npy")[:100]
    found = distances(list((faces * 255).astype(np.uint8)), list((faces * 255).astype(np.uint8)))
    np.fill_diagonal(found, np.inf)
    assert found.min() > 4 * SAME


def test_drawn_faces_are_told_apart_and_their_copies_are_found() -> None:
    clips = read_clips(write_synthetic(subjects=10, clips_per_class=1))
    assert len(find_duplicates(clips)) == 0
    pictures = onsets(clips)
    changes: list[Change] = [jpeg(50), jpeg(90), half, brighter]
    for change in changes:
        copies = np.diag(distances(pictures, [change(picture) for picture in pictures]))
        assert np.mean(copies <= SAME) >= 0.95
    # An eye that begins to shut hides a few.
    assert np.mean(np.diag(distances(pictures, onsets(clips, later=1))) <= SAME) >= 0.8


@pytest.mark.parametrize("change", [lambda picture: picture, jpeg(75), half, brighter])
def test_a_copy_under_another_name_is_found(tmp_path: Path, change: Change) -> None:
    dim = (noise(1) // 2).astype(np.uint8)  # so that it can be brighter
    clips = images(tmp_path, {"a/s1/x": noise(0), "a/s2/y": dim, "b/s9/z": change(dim)})
    assert find_duplicates(clips).tolist() == [[1, 2]]
    (finding,) = duplicate_findings(clips, find_duplicates(clips))
    assert finding.clip == "b/s9/z"
    assert "shows the same frame as a/s2/y" in finding.problem
    with pytest.raises(
        MerError, match=r"leak in fold a/s2: a/s2/y \(tested\) and b/s9/z \(trained on\) show"
    ):
        check_duplicates(clips, loso(clips), find_duplicates(clips))


def test_all_pairs_are_found_whatever_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = images(tmp_path, {f"a/s{k}/x": noise(k % 4) for k in range(9)})
    expected = [[i, j] for i in range(9) for j in range(i + 1, 9) if i % 4 == j % 4]
    assert find_duplicates(clips).tolist() == expected
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    assert find_duplicates(clips).tolist() == expected


def test_of_one_subject_only_equal_pictures_count(tmp_path: Path) -> None:
    clips = images(tmp_path, {"a/s1/x": noise(0), "a/s1/y": noise(0), "a/s1/z": jpeg(95)(noise(0))})
    assert find_duplicates(clips).tolist() == [[0, 1]]
    # Two expressions of one recording that begin together lie in one place.
    assert len(find_duplicates(clips.assign(image=clips["image"].iloc[0]))) == 0


def test_pictures_without_contrast_say_nothing(tmp_path: Path) -> None:
    grey = np.full((28, 28), 90, np.uint8)
    clips = images(tmp_path, {"a/s1/x": grey, "a/s2/y": grey, "a/s1/z": grey})
    assert len(find_duplicates(clips)) == 0


def test_a_pair_in_one_part_is_no_leak(tmp_path: Path) -> None:
    clips = images(tmp_path, {"a/s1/x": noise(0), "a/s2/y": noise(0), "a/s3/z": noise(1)})
    pairs = find_duplicates(clips)
    check_duplicates(clips, [Split("f", (0, 1), (), (2,))], pairs)
    check_duplicates(clips, [Split("f", (2,), (), (0, 1))], pairs)
    check_duplicates(clips, [Split("f", (0,), (), (2,))], pairs)  # the copy is not used
    for train, validation, test, words in (
        ((0,), (1,), (2,), r"a/s1/x \(trained on\) and a/s2/y \(validated on\)"),
        ((2,), (0,), (1,), r"a/s1/x \(validated on\) and a/s2/y \(tested\)"),
    ):
        with pytest.raises(MerError, match=words):
            check_duplicates(clips, [Split("f", train, validation, test)], pairs)
    # Clips that are drawn for validation share subjects with training; the tested one never does.
    shared = (("train", "validation"),)
    check_duplicates(clips, [Split("f", (0,), (1,), (2,), shared)], pairs)
    for shared in ((("train", "validation"),), (("train", "test"),)):
        with pytest.raises(MerError, match="leak in fold f"):
            check_duplicates(clips, [Split("f", (0,), (2,), (1,), shared)], pairs)


def test_weights_know_the_clips_that_they_have_seen(tmp_path: Path) -> None:
    """Under any name, and in another file: what is compared is the picture."""
    before = images(tmp_path / "a", {f"ck/p{k}/x": noise(k) for k in range(4)})
    trained = fingerprints(before, [0, 1, 2])
    assert len(trained) == 3
    assert {len(text) for text in trained} == {344}
    after = images(tmp_path / "b", {"me/s1/x": noise(7), "me/s2/y": jpeg(75)(noise(1))})
    source = Path("runs/x/weights.safetensors")
    check_apart(trained, after, [0], source=source)
    check_apart(trained, before, [3], source=source)
    check_apart([], after, [0, 1], source=source)
    with pytest.raises(MerError, match=r"leak: \S+safetensors was trained on the same frame as me/s2/y"):
        check_apart(trained, after, [0, 1], source=source)
    for damaged in ("no base64", "AAAA"):
        with pytest.raises(MerError, match="its fingerprints of clips are damaged"):
            check_apart([damaged], after, [0], source=source)


def test_prints_are_kept_and_a_damaged_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = images(tmp_path / "images", {"a/s1/x": noise(0), "a/s2/y": noise(0)})
    assert len(find_duplicates(clips)) == 1
    (kept,) = (tmp_path / "mer-cache/fingerprints").iterdir()
    content = kept.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(duplicates, "_print", lambda *_: pytest.fail("read again"))
        assert len(find_duplicates(clips)) == 1
    for damaged in (b"", content[:-1], content[:40] + bytes([content[40] ^ 1]) + content[41:]):
        kept.write_bytes(damaged)
        assert len(find_duplicates(clips)) == 1
        assert kept.read_bytes() == content
    # Another picture in the same file is another print.
    assert cv2.imwrite(clips["image"].iloc[1], noise(5, size=44))
    assert len(find_duplicates(clips)) == 0


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    clips = images(tmp_path / "images", {"a/s1/x": noise(0)})
    (tmp_path / "mer-cache").mkdir()
    (tmp_path / "mer-cache/fingerprints").write_text("a file")
    with pytest.raises(MerError, match=r"fingerprints/\w+: cannot be written .*set MER_CACHE"):
        find_duplicates(clips)


def test_the_picture_is_the_onset_frame(tmp_path: Path) -> None:
    """Of frames between onset and offset, as an encoding reads them; of a video by decoding."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 7):
        assert cv2.imwrite(str(folder / f"img{number}.png"), noise(number))
    other = tmp_path / "other"
    other.mkdir()
    assert cv2.imwrite(str(other / "img90.png"), noise(4))
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 30, (40, 40))
    for number in (9, 4, 8):
        writer.write(cv2.cvtColor(noise(number), cv2.COLOR_GRAY2BGR))
    writer.release()
    base = {"database": "d", "clip": "x", "label": "x", "apex": None, "fps": None}
    clips = validate(
        pd.DataFrame(
            [
                base | {"subject": "s1", "frames": str(folder), "onset": 4, "offset": 6},
                base | {"subject": "s2", "frames": str(other), "onset": None, "offset": None},
                base | {"subject": "s3", "frames": str(film), "onset": 2, "offset": None},
                base | {"subject": "s4", "frames": str(folder), "onset": None, "offset": 3},
            ]
        ),
        "t",
    )
    assert find_duplicates(clips).tolist() == [[0, 1], [0, 2], [1, 2]]
