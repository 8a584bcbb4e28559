import hashlib
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mer.data.clips import validate
from mer.data.encoded import BATCH, EncodedSet, encode, open_set
from mer.data.frames import read_clip
from mer.data.megc2019_uvos import read_clips
from mer.encodings import ApexFlow, DynamicImage
from mer.errors import MerError
from tests.trees import write_frames, write_megc2019_uvos

LENGTHS = (3, 5, 2)


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    """The table of a tiny release: 8 clips that are images already."""
    labels = dict.fromkeys(("006", "s01"), ("0", "0", "1", "2"))
    return read_clips(write_megc2019_uvos(tmp_path / "release", labels))


@pytest.fixture
def frames(tmp_path: Path) -> pd.DataFrame:
    """The table of clips of unequal length; their folders begin before the onset and end after the offset."""
    rows = []
    for k, length in enumerate(LENGTHS):
        folder = write_frames(tmp_path / f"frames/c{k}", range(8, 12 + length), seed=k)
        numbers = {"onset": 10, "apex": 11, "offset": 9 + length, "fps": 200}
        rows.append(
            {"database": "d", "subject": f"s{k}", "clip": "c", "label": "x", "frames": str(folder)} | numbers
        )
    return validate(pd.DataFrame(rows), "t")


class Counting(nn.Module):
    """An encoding that counts how often it is called, in a private attribute: no parameter of it."""

    reads = "clip"

    def __init__(self, *, offset: int = 0) -> None:
        super().__init__()
        self.offset = offset
        self._calls = 0

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        self._calls += 1
        return clips[:, 0].float() + self.offset + lengths[:, None, None, None]


def encoded(clips: pd.DataFrame, encoding: nn.Module | None = None) -> EncodedSet:
    return encode(clips, encoding, progress=False)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


# What is in the set.


def test_images_are_channels_last_float32_in_the_order_of_the_table(images: pd.DataFrame) -> None:
    got = encoded(images)
    assert got.images.shape == (8, 3, 28, 28)
    assert got.images.dtype == torch.float32
    assert got.images.is_contiguous(memory_format=torch.channels_last)
    again = encoded(images.iloc[::-1].reset_index(drop=True))
    assert again.folder != got.folder
    assert torch.equal(again.images.flip(0), got.images)


def test_content_is_the_hash_of_the_pixels(images: pd.DataFrame) -> None:
    got = encoded(images)
    pixels = got.images.permute(0, 2, 3, 1).contiguous().numpy()
    assert got.content == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_dynamic_images_are_the_module_s_own(frames: pd.DataFrame) -> None:
    # One clip at a time: neither padding nor neighbours may show.
    module = DynamicImage(size=16)
    expected = []
    for row, length in zip(frames.itertuples(), LENGTHS, strict=True):
        clip = read_clip(Path(str(row.frames)), range(10, 10 + length), grey=False)
        expected.append(module(clip[None], torch.tensor([length])))
    got = encoded(frames, module)
    assert got.images.shape == (3, 3, 16, 16)
    torch.testing.assert_close(got.images, torch.cat(expected), rtol=1e-5, atol=1e-3)


def test_apex_flow_is_the_module_s_own(frames: pd.DataFrame) -> None:
    module = ApexFlow(size=14, warps=1, scales=1, outer_iterations=1)
    pairs = [read_clip(Path(folder), [10, 11], grey=True) for folder in frames["frames"]]
    expected = module(torch.stack(pairs), torch.full((3,), 2))
    torch.testing.assert_close(encoded(frames, module).images, expected, rtol=0, atol=0)


def test_more_clips_than_a_batch_keep_their_order(tmp_path: Path) -> None:
    rows = []
    for k in range(BATCH + 3):
        folder = write_frames(tmp_path / f"f{k}", range(1, 3), size=(4, 4), seed=k)
        rows.append(
            {"database": "d", "subject": f"s{k:02d}", "clip": "c", "label": "x", "frames": str(folder)}
        )
    clips = validate(pd.DataFrame(rows).assign(onset=None, apex=None, offset=None, fps=None), "t")
    module = Counting()
    got = encoded(clips, module)
    assert module._calls == 2
    for k, folder in enumerate(clips["frames"]):  # without onset and offset a clip is its whole folder
        first = read_clip(Path(folder), [1], grey=False)[0].float() + 2
        assert torch.equal(got.images[k], first)


# The cache.


def test_a_second_call_reads_the_cache(frames: pd.DataFrame) -> None:
    module = Counting()
    first = encoded(frames, module)
    second = encoded(frames, module)
    assert module._calls == 1
    assert second.content == first.content
    assert second.folder == first.folder
    assert torch.equal(second.images, first.images)
    assert sorted(path.name for path in first.folder.iterdir()) == ["about.json", "images.npy"]


def test_a_changed_file_row_or_parameter_is_another_set(frames: pd.DataFrame) -> None:
    folders = [encoded(frames, Counting()).folder, encoded(frames, Counting(offset=1)).folder]
    folders.append(encoded(frames.assign(offset=frames["onset"]), Counting()).folder)
    image = Path(frames["frames"][0]) / "img10.png"
    touch(image)
    folders.append(encoded(frames, Counting()).folder)
    image.write_bytes(image.read_bytes() + b"longer")
    touch(image)
    folders.append(encoded(frames, Counting()).folder)
    (Path(frames["frames"][0]) / "img99.png").write_bytes(image.read_bytes())
    folders.append(encoded(frames, Counting()).folder)
    assert len(set(folders)) == 6


def test_a_changed_image_is_another_set(images: pd.DataFrame) -> None:
    first = encoded(images)
    touch(Path(images["image"][3]))
    second = encoded(images)
    assert second.folder != first.folder
    assert second.content == first.content


def test_labels_do_not_matter(images: pd.DataFrame) -> None:
    assert encoded(images).folder == encoded(images.assign(label="x")).folder


@pytest.mark.parametrize("position", [0, 7, 24, 40, 61, 90, 127, 128, 5000, -1])
def test_a_flipped_byte_is_detected_and_the_set_rebuilt(images: pd.DataFrame, position: int) -> None:
    first = encoded(images)
    file = first.folder / "images.npy"
    whole = file.read_bytes()
    for flip in (0x01, 0x0A, 0xFF):
        damaged = bytearray(whole)
        damaged[position] ^= flip
        file.write_bytes(damaged)
        again = encoded(images)
        assert again.content == first.content
        assert again.images.dtype == torch.float32
        assert again.images.shape == first.images.shape
        assert hashlib.sha256(again.images.permute(0, 2, 3, 1).numpy().tobytes()).hexdigest() == first.content


def test_another_type_in_the_header_is_detected(images: pd.DataFrame) -> None:
    # The pixels' hash stays right: only the header says that they are float32.
    first = encoded(images)
    file = first.folder / "images.npy"
    file.write_bytes(file.read_bytes().replace(b"'<f4'", b"'<i4'", 1))
    assert open_set(first.folder) is None
    assert torch.equal(encoded(images).images, first.images)


@pytest.mark.parametrize("size", [0, 50, -1])
@pytest.mark.parametrize("name", ["images.npy", "about.json"])
def test_a_truncated_file_is_rebuilt(images: pd.DataFrame, name: str, size: int) -> None:
    first = encoded(images)
    file = first.folder / name
    file.write_bytes(file.read_bytes()[:size])
    assert open_set(first.folder) is None
    assert encoded(images).content == first.content
    assert open_set(first.folder) is not None


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1, "clips": 8}', '{"format": 0}'])
def test_another_about_json_is_refused(images: pd.DataFrame, text: str) -> None:
    first = encoded(images)
    (first.folder / "about.json").write_text(text, encoding="utf-8")
    assert open_set(first.folder) is None
    assert open_set(first.folder, verify=False) is None
    assert encoded(images).content == first.content


def test_what_a_killed_process_left_is_ignored_and_removed(images: pd.DataFrame) -> None:
    first = encoded(images)
    scratch = first.folder.with_name(f".{first.folder.name}")
    first.folder.rename(scratch)
    (scratch / "about.json").unlink()
    (scratch / "images.npy").write_bytes(b"half")
    assert encoded(images).content == first.content
    assert not scratch.exists()


def test_a_failed_encoding_leaves_no_set(images: pd.DataFrame, tmp_path: Path) -> None:
    image = Path(images["image"].iloc[-1])
    whole = image.read_bytes()
    image.write_bytes(whole[:-20])
    with pytest.raises(MerError, match="cut short"):
        encoded(images)
    assert [path.name for path in (tmp_path / "mer-cache/encoded").iterdir() if path.is_dir()] == []
    image.write_bytes(whole)
    assert len(encoded(images).images) == 8


def test_a_cache_that_cannot_be_written_names_mer_cache(images: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MerError, match=r"file/encoded/.* cannot be written .*MER_CACHE"):
        encode(images, cache=tmp_path / "file", progress=False)


class Slow(nn.Module):
    """An encoding that leaves its process id in a folder, and time for another process to come in between."""

    reads = "clip"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, clips: Tensor, _: Tensor) -> Tensor:
        (self.folder / f"encoded-by-{os.getpid()}").touch()
        time.sleep(0.3)
        return clips[:, 0].float()


def encode_together(clips: pd.DataFrame, folder: Path) -> tuple[str, bool]:
    """Encode as soon as two processes are here."""
    (folder / f"here-{os.getpid()}").touch()
    while len(list(folder.glob("here-*"))) < 2:
        time.sleep(0.01)
    got = encode(clips, Slow(folder), progress=False)
    return got.content, open_set(got.folder) is not None


def test_two_processes_that_encode_at_once_both_succeed(frames: pd.DataFrame, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(encode_together, frames, meeting)
        here = encode_together(frames, meeting)
        assert other.result() == here
    assert here[1], "the set is whole"
    assert len(list(meeting.glob("encoded-by-*"))) == 1, "one waited for the other's set"


# Errors.


def test_an_encoding_of_images_names_the_key(images: pd.DataFrame) -> None:
    with pytest.raises(MerError, match=r"^encoding=DynamicImage: .* use encoding=none"):
        encoded(images, DynamicImage())


def test_none_on_frames_names_the_key(frames: pd.DataFrame) -> None:
    with pytest.raises(
        MerError, match=r"^encoding=none: these clips are folders of frames; choose an encoding"
    ):
        encoded(frames)


def test_images_of_different_sizes_are_named(tmp_path: Path) -> None:
    root = write_megc2019_uvos(tmp_path / "r", {"006": ("0", "1")})
    write_megc2019_uvos(root, {"007": ("0",)}, size=30)
    with pytest.raises(
        MerError,
        match=r"007_EP01_01 .png: the image is 30x30 but the first was 28x28; give images of one size",
    ):
        encoded(read_clips(root))


def test_frames_of_different_sizes_need_a_size(frames: pd.DataFrame) -> None:
    folder = write_frames(Path(frames["frames"][1]), range(8, 20), size=(30, 44))
    with pytest.raises(
        MerError, match=rf"{folder}: the image is 44x30 but the first was 40x32; set encoding.size"
    ):
        encoded(frames, DynamicImage())
    assert encoded(frames, DynamicImage(size=16)).images.shape == (3, 3, 16, 16)


def test_a_clip_without_apex_is_named(frames: pd.DataFrame) -> None:
    frames.loc[1, "apex"] = pd.NA
    with pytest.raises(MerError, match=r"frames/c1: clip d/s1/c has no onset or apex frame number"):
        encoded(frames, ApexFlow())
    assert len(encoded(frames, Counting()).images) == 3, "other encodings do not need it"


def test_a_clip_without_a_frame_in_its_range_is_named(frames: pd.DataFrame) -> None:
    frames.loc[1, ["onset", "offset"]] = [50, 60]
    with pytest.raises(
        MerError, match=r"c1: clip d/s1/c has no frame between its onset 50 and its offset 60"
    ):
        encoded(frames, DynamicImage())


def test_a_missing_folder_or_image_is_named(frames: pd.DataFrame, images: pd.DataFrame) -> None:
    with pytest.raises(MerError, match=r"/gone: no such folder of frames; check data.root"):
        encoded(frames.assign(frames="/gone"), DynamicImage())
    with pytest.raises(MerError, match=r"/gone.png: cannot be read \(No such file.*\); check data.root"):
        encoded(images.assign(image="/gone.png"))


def test_about_json_says_what_the_set_is(frames: pd.DataFrame) -> None:
    got = encoded(frames, Counting(offset=2))
    about = json.loads((got.folder / "about.json").read_text(encoding="utf-8"))
    assert about["encoding"] == {"name": "Counting", "offset": "2"}
    assert about["sha256"] == got.content
