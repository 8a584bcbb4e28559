import hashlib
import json
import multiprocessing
import os
import signal
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from mer.data.clips import validate
from mer.data.encoded import EncodedSet, encode, open_set, set_folder
from mer.data.encoding_batches import BATCH, clip_batches, frame_numbers
from mer.data.faces import Face
from mer.data.frames import read_clip
from mer.data.megc2019_uvos import read_clips
from mer.encodings import ApexFlow, DynamicImage, FrameSequence
from mer.errors import MerError
from tests.data.test_video import write_video
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


class Weighing(Counting):
    """Notes how much memory that tracemalloc sees is held while a batch is encoded."""

    def __init__(self, *, offset: int) -> None:
        super().__init__(offset=offset)
        self._held = 0

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        self._held = max(self._held, tracemalloc.get_traced_memory()[0])
        return super().forward(clips, lengths)


class Frames(nn.Module):
    """A sequence of the frames as they are."""

    reads = "clip"
    gives = "sequence"

    def __init__(self, *, dtype: torch.dtype = torch.uint8) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, clips: Tensor, _: Tensor) -> Tensor:
        return clips.to(self.dtype)


class EyeNote(nn.Module):
    """An encoding whose image is the polygons of the eyes that it was given."""

    reads = "clip"
    masks_eyes = True

    def forward(self, clips: Tensor, _: Tensor, eyes: Tensor) -> Tensor:
        assert eyes.shape == (len(clips), 2, 6, 2)
        assert eyes.dtype == torch.float32
        return eyes


def encoded(
    clips: pd.DataFrame, encoding: nn.Module | None = None, faces: list[Face] | None = None
) -> EncodedSet:
    return encode(clips, encoding, faces=faces, progress=False)


def box(x: int, y: int, width: int, height: int, *, eyes: int = 0) -> Face:
    """A face that is this part of the frame, with all points of its eyes at one place."""
    polygon = ((float(eyes), 1.0),) * 6
    matrix = (1.0, 0.0, -float(x), 0.0, 1.0, -float(y))
    return Face("haar", matrix, (width, height), (polygon, polygon), "typical")


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


def test_a_video_is_encoded_as_its_frames_in_a_folder_are(frames: pd.DataFrame, tmp_path: Path) -> None:
    paths = []
    for k, length in enumerate(LENGTHS):
        folder, numbers = Path(frames["frames"][k]), range(8, 12 + length)
        pixels = read_clip(folder, numbers, grey=False).permute(0, 2, 3, 1).flip(-1).contiguous().numpy()
        paths.append(str(write_video(tmp_path / f"v{k}.avi", pixels)))
    videos = frames.assign(frames=paths)
    # The folders begin with frame 8, the videos with frame 1.
    videos[["onset", "apex", "offset"]] -= 7
    for module in (DynamicImage(), Frames()):
        assert encoded(videos, module).content == encoded(frames, module).content
    unknown = pd.array([pd.NA] * 3, "Int64")
    whole = videos.assign(onset=unknown, offset=unknown)
    first = encoded(whole, Frames())
    assert first.lengths is not None
    assert first.lengths.tolist() == [length + 4 for length in LENGTHS]
    touch(tmp_path / "v1.avi")
    assert set_folder(whole, Frames()) != first.folder
    with pytest.raises(MerError, match=r"v0\.avi: no frame 8 .* the video has 7 frames"):
        encoded(videos.assign(offset=9), Frames())


# Faces.


def test_faces_are_cut_out_row_by_row(frames: pd.DataFrame) -> None:
    faces = [box(1, 2, 20, 16), box(3, 4, 20, 16), box(5, 6, 20, 16)]
    whole = encoded(frames, DynamicImage())
    got = encoded(frames, DynamicImage(), faces)
    for k, face in enumerate(faces):
        onset, last = int(frames["onset"][k]), int(frames["offset"][k])
        clip = read_clip(Path(frames["frames"][k]), range(onset, last + 1), grey=False, face=face)
        expected = DynamicImage()(clip[None], torch.tensor([len(clip)]))
        torch.testing.assert_close(got.images[k : k + 1], expected, rtol=1e-5, atol=1e-3)
    assert whole.images.shape == (3, 3, 32, 40)
    swapped = set_folder(frames, DynamicImage(), faces=[faces[1], faces[0], faces[2]])
    assert len({whole.folder, got.folder, swapped}) == 3
    assert set_folder(frames, DynamicImage(), faces=list(faces)) == got.folder


def test_faces_of_different_sizes_need_a_size(frames: pd.DataFrame) -> None:
    faces = [box(1, 2, 20, 16), box(3, 4, 20, 17), box(5, 6, 21, 16)]
    with pytest.raises(MerError, match=r"c1: the image is 20x17 but the first was 20x16; set encoding.size"):
        encoded(frames, DynamicImage(), faces)
    assert encoded(frames, DynamicImage(size=16), faces).images.shape == (3, 3, 16, 16)


def test_an_encoding_that_masks_the_eyes_is_given_those_of_each_row(frames: pd.DataFrame) -> None:
    # The second has another size, so the rows come in three batches.
    faces = [box(0, 0, 20, 16, eyes=3), box(0, 0, 20, 17, eyes=5), box(0, 0, 20, 16, eyes=7)]
    got = encoded(frames, EyeNote(), faces)
    expected = torch.tensor([[x, 1.0] for x in (3, 5, 7)])[:, None, None].expand(3, 2, 6, 2)
    assert torch.equal(got.images, expected)
    with pytest.raises(MerError, match=r"^encoding=EyeNote: it masks the eyes, .*; give the clips' faces"):
        encoded(frames, EyeNote())


def test_eyes_that_are_not_masked_do_not_matter(frames: pd.DataFrame) -> None:
    faces = [[box(0, 0, 9, 9, eyes=eyes)] * 3 for eyes in (3, 4)]
    assert len({set_folder(frames, DynamicImage(), faces=some) for some in faces}) == 1
    assert len({set_folder(frames, EyeNote(), faces=some) for some in faces}) == 2


# Memory.


@pytest.fixture
def many(tmp_path: Path) -> pd.DataFrame:
    """20 clips of 6 to 10 frames of 64x80 pixels: 2.4 MB in all."""
    rows = []
    for k in range(20):
        folder = write_frames(tmp_path / f"many/c{k:02d}", range(1, 7 + k % 5), size=(64, 80), seed=k)
        rows.append({"subject": f"s{k:02d}", "frames": str(folder)})
    table = pd.DataFrame(rows).assign(database="d", clip="c", label="x", onset=1, apex=2, offset=99, fps=200)
    return validate(table, "t")


def test_batches_keep_to_the_budget_with_their_padding(
    many: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = 64 * 80 * 3
    numbers = frame_numbers(many, DynamicImage())
    assert [len(of_clip) for of_clip in numbers] == [6, 7, 8, 9, 10] * 4
    monkeypatch.setattr("mer.data.encoding_batches.BUDGET", 24 * frame)
    lengths = [batch.lengths.tolist() for batch in clip_batches(many, DynamicImage(), numbers)]
    # 6, 7 and 8 frames are padded to 3 * 8; after 9 and 10 another 6 would be padded to 3 * 10.
    assert lengths == [[6, 7, 8], [9, 10], [6, 7, 8], [9, 10], [6, 7, 8], [9, 10], [6, 7, 8], [9, 10]]
    monkeypatch.setattr("mer.data.encoding_batches.BUDGET", 9 * frame)
    lengths = [batch.lengths.tolist() for batch in clip_batches(many, DynamicImage(), numbers)]
    assert lengths == [[6], [7], [8], [9], [10]] * 4, "a clip above the budget is a batch of its own"


def test_memory_is_bounded_by_the_budget_not_by_the_set(
    many: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = 10 * 64 * 80 * 3

    def measure(budget: int) -> tuple[int, int]:
        monkeypatch.setattr("mer.data.encoding_batches.BUDGET", budget)
        module = Weighing(offset=budget)
        tracemalloc.start()  # it sees NumPy's memory, which the frames are in
        encoded(many, module)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return module._held, peak

    encoded(many.iloc[:2], Counting())  # what is imported or kept for ever
    held, peak = measure(3 * clip)
    # The half clip is for everything else.
    assert held < 3.5 * clip, "nothing but the batch is held while it is encoded"
    assert peak < 6.5 * clip, "nothing but a batch is held while it is copied into its padding"
    held, peak = measure(100 * clip)
    assert held > 15 * clip, "the measure sees 16 clips"
    assert peak > 25 * clip


# Sequences.


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_sequences_are_the_valid_frames_one_clip_after_another(
    frames: pd.DataFrame, dtype: torch.dtype
) -> None:
    got = encoded(frames, Frames(dtype=dtype))
    assert got.lengths is not None
    assert (got.lengths.dtype, got.lengths.tolist()) == (torch.int64, list(LENGTHS))
    expected = [
        read_clip(Path(folder), range(10, 10 + length), grey=False)
        for folder, length in zip(frames["frames"], LENGTHS, strict=True)
    ]
    assert got.images.dtype == dtype
    assert torch.equal(got.images, torch.cat(expected).to(dtype))
    assert got.images.is_contiguous(memory_format=torch.channels_last)
    again = encoded(frames, Frames(dtype=dtype))
    assert again.content == got.content
    assert torch.equal(again.images, got.images)
    assert again.lengths is not None
    assert torch.equal(again.lengths, got.lengths)


def test_frame_sequences_do_not_depend_on_the_batches(
    many: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = FrameSequence(size=16, grey=True)
    whole = encode(many, module, cache=tmp_path / "whole", progress=False)
    assert whole.images.shape == (160, 1, 16, 16)  # 4 times 6 + 7 + 8 + 9 + 10
    monkeypatch.setattr("mer.data.encoding_batches.BUDGET", 1)
    single = encode(many, module, cache=tmp_path / "single", progress=False)
    assert single.content == whole.content


def test_16_bit_and_grey_frames_become_sequences(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 257
    for number in (1, 2):
        assert cv2.imwrite(str(tmp_path / f"img{number}.png"), values + np.uint16(257 * number))
    row = {"database": "d", "subject": "s", "clip": "c", "label": "x", "frames": str(tmp_path)}
    clips = validate(pd.DataFrame([row | {"onset": 1, "apex": 1, "offset": 2, "fps": 200}]), "t")
    got = encoded(clips, Frames())
    expected = torch.arange(48, dtype=torch.uint8).reshape(6, 8)
    assert torch.equal(got.images, torch.stack([expected + 1, expected + 2])[:, None].expand(2, 3, 6, 8))


@pytest.mark.parametrize(
    "lengths", [[3, 5], [3, 5, 3], [5, 3, 2], [10], [3, 7, 0], [3, 5, 2.0], ["3", "5", "2"], 10, None, {}]
)
def test_lengths_that_are_wrong_are_detected_and_the_set_rebuilt(
    frames: pd.DataFrame, lengths: object
) -> None:
    first = encoded(frames, Frames())
    file = first.folder / "about.json"
    whole = file.read_bytes()
    about = json.loads(whole)
    assert about["lengths"] == list(LENGTHS)
    file.write_text(json.dumps(about | {"lengths": lengths}), encoding="utf-8")
    assert open_set(first.folder) is None
    again = encoded(frames, Frames())
    assert again.content == first.content
    assert file.read_bytes() == whole


@pytest.mark.parametrize("position", [0, 24, 61, 127, 128, 5000, -1])
def test_a_flipped_byte_of_a_sequence_is_detected(frames: pd.DataFrame, position: int) -> None:
    first = encoded(frames, Frames())
    file = first.folder / "images.npy"
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[position] ^= 0x01
    file.write_bytes(damaged)
    assert open_set(first.folder) is None
    assert encoded(frames, Frames()).content == first.content
    assert file.read_bytes() == whole
    file.write_bytes(whole[:-1])
    assert open_set(first.folder, verify=False) is None


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


def test_the_folder_is_known_before_anything_is_encoded(frames: pd.DataFrame, tmp_path: Path) -> None:
    folder = set_folder(frames, Counting())
    assert not folder.exists()
    assert open_set(folder) is None
    assert encoded(frames, Counting()).folder == folder
    assert set_folder(frames, Counting(), cache=tmp_path) == tmp_path / "encoded" / folder.name


def test_names_that_are_not_utf8_are_encoded_and_named(frames: pd.DataFrame, tmp_path: Path) -> None:
    # pandas' own strings are UTF-8, so such a table has a column of objects.
    folders = [tmp_path / os.fsdecode(f"\xe9{k}".encode("latin-1")) for k in range(3)]
    for old, new in zip(frames["frames"], folders, strict=True):
        Path(old).rename(new)
    names = pd.Series([str(folder) for folder in folders], dtype=object)
    renamed = frames.assign(frames=names)
    got = encoded(renamed, Frames())
    assert got.images.shape == (10, 3, 32, 40)
    assert encoded(renamed, Frames()).folder == got.folder
    (folders[2] / "img10.png").unlink()
    with pytest.raises(MerError, match="no frame 10"):
        encoded(renamed, ApexFlow())


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


class SlowFrames(Slow):
    """The same as sequences."""

    gives = "sequence"

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        super().forward(clips, lengths)
        return clips


def encode_together(clips: pd.DataFrame, folder: Path) -> tuple[str, bool]:
    """Encode as soon as two processes are here."""
    (folder / f"here-{os.getpid()}").touch()
    while len(list(folder.glob("here-*"))) < 2:
        time.sleep(0.01)
    got = encode(clips, SlowFrames(folder), progress=False)
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


class Mortal(Frames):
    """Sequences; the process is killed in the second batch that it encodes, where ``dies`` is set."""

    def __init__(self, *, dies: bool) -> None:
        super().__init__()
        self._left = 1 if dies else 99

    def forward(self, clips: Tensor, _: Tensor) -> Tensor:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return clips[..., :40]


def encode_and_die(clips: pd.DataFrame) -> None:
    encode(clips, Mortal(dies=True), progress=False)


def test_a_set_whose_process_was_killed_is_rebuilt_to_the_same_bytes(
    frames: pd.DataFrame, tmp_path: Path
) -> None:
    write_frames(Path(frames["frames"][1]), range(8, 17), size=(32, 41), seed=1)  # so a batch of its own
    process = multiprocessing.get_context("spawn").Process(target=encode_and_die, args=(frames,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    folder = set_folder(frames, Mortal(dies=False))
    scratch = folder.with_name(f".{folder.name}")
    assert not folder.exists()
    assert [path.name for path in scratch.iterdir()] == ["images.npy"]
    half = (scratch / "images.npy").stat().st_size
    got = encoded(frames, Mortal(dies=False))
    assert got.folder == folder
    assert not scratch.exists()
    assert 0 < half < (folder / "images.npy").stat().st_size
    undisturbed = encode(frames, Mortal(dies=False), cache=tmp_path / "other", progress=False)
    for name in ("images.npy", "about.json"):
        assert (folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()


# Errors.


def test_an_encoding_of_images_names_the_key(images: pd.DataFrame) -> None:
    with pytest.raises(MerError, match=r"^encoding=DynamicImage: .* use encoding=none"):
        encoded(images, DynamicImage())


def test_faces_of_images_name_the_key(images: pd.DataFrame) -> None:
    with pytest.raises(MerError, match=r"^faces: .* already encoded; give no faces"):
        encoded(images, None, [box(0, 0, 9, 9)] * 8)


def test_faces_of_another_table_are_refused(frames: pd.DataFrame) -> None:
    for count in (2, 4):
        with pytest.raises(MerError, match=rf"^faces: {count} for a table of 3 clips; find the faces of"):
            encoded(frames, DynamicImage(), [box(0, 0, 9, 9)] * count)


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


class Spoilt(nn.Module):
    """An encoding of one's own that divides by zero in one frame of one clip."""

    reads = "clip"

    def __init__(self, *, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, clips: Tensor, lengths: Tensor) -> Tensor:
        longest = lengths.argmax()
        found = clips.float()
        found[longest, lengths[longest] - 1, 0, 0, 0] = float("nan")
        return found if self.gives == "sequence" else found.mean(1)


@pytest.mark.parametrize("gives", ["image", "sequence"])
def test_an_encoding_that_is_no_number_is_named_before_training(frames: pd.DataFrame, gives: str) -> None:
    """A network that saw it would give no number for any clip, and its learning rate would be blamed."""
    with pytest.raises(MerError, match=r"frames/c1: its encoding holds values that are not finite"):
        encode(frames, Spoilt(gives=gives), progress=False)
    left = Path(os.environ["MER_CACHE"]).glob("encoded/*")
    assert not [path for path in left if path.suffix != ".lock"]
