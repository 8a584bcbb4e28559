"""A clip as its checkpoint's network reads it: the model, and how a clip's face, apex and image are found."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from mer import checkpoint
from mer.checkpoint import Checkpoint
from mer.data.clips import validate
from mer.data.duplicates import check_apart
from mer.data.encoded import encode
from mer.data.faces import Face, FaceOptions, locate_all
from mer.data.frames import is_video, list_frames
from mer.data.preparation import make_ready
from mer.data.video import _opened
from mer.errors import MerError
from mer.opencv import import_opencv
from mer.spotting_scores import SpotOptions

Kind = Literal["video", "frames", "image"]


@dataclass(frozen=True)
class Source:
    """A clip to predict; ``name`` is what its files are called."""

    path: Path
    name: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user says of clips; None leaves it to the clip and the checkpoint.

    Attributes:
        onset, apex, offset: frame numbers.
        fps: frames a second.
        cropped: the frames show the face alone.
        faces: ``method`` of `mer.data.faces.FaceOptions`.
        landmarks: file with the 68 points of the onset frame.
        threshold: least height of a peak that is spotted.
    """

    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    fps: float | None = None
    cropped: bool = False
    faces: str | None = None
    landmarks: Path | None = None
    threshold: float = SpotOptions.threshold


@dataclass(frozen=True)
class Model:
    """The checkpoints of one run: of each fold a network, whose probabilities are averaged.

    Attributes:
        checkpoints: one or more.
        encoding: the checkpoints' own, or the one that stands in for it where they have none.
        device: where clips are encoded and networks run.
        seen: fingerprints of all clips that were trained on.
        notes: what the user should know of every prediction.
    """

    checkpoints: list[Checkpoint]
    encoding: nn.Module | None
    device: torch.device
    seen: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def about(self) -> checkpoint.About:
        """Of the first fold; what decides a prediction is the same in all."""
        return self.checkpoints[0].about


class Encoded(NamedTuple):
    """A clip as the network reads it.

    Attributes:
        source: where it is from.
        row: of its clip table, with onset, apex and offset as they were used.
        numbers: all its frame numbers; empty of an image.
        face: cut out of its frames; None where whole frames were used.
        images: (1, C, H, W) float32, or (T, C, H, W) of a sequence.
        spotted: whether the apex was.
        notes: what the user should know.
    """

    source: Source
    row: "pd.Series[Any]"
    numbers: list[int]
    face: Face | None
    images: Tensor
    spotted: bool
    notes: list[str]


def load_model(
    path: Path, *, trusted: Sequence[str] = (), device: str = "cpu", instead: nn.Module | None = None
) -> Model:
    """The checkpoints of a file, a fold's folder or a run folder.

    Args:
        path: see `mer.checkpoint.find`.
        trusted: see `mer.checkpoint.load`.
        device: where clips are encoded and networks run.
        instead: encodes clips for checkpoints that were trained on images as they were published.

    Raises:
        MerError: as `mer.checkpoint.load`; folds of unlike networks; ``instead`` for checkpoints that know
            their own encoding.
    """
    found = [checkpoint.load(file, trusted=trusted) for file in checkpoint.find(path)]
    for other in found[1:]:
        if different := [
            name
            for name in ("network", "classes", "encoding", "shape", "task", "faces")
            if getattr(other.about, name) != getattr(found[0].about, name)
        ]:
            raise MerError(
                f"{other.path}: another {different[0]} than {found[0].path}; predict with one of them"
            )
    where = torch.device(device)
    for each in found:
        each.network.to(where)
    notes = []
    encoding = found[0].encoding
    if instead is not None:
        if encoding is not None:
            raise MerError(
                f"--encoding: {path} was trained with {type(encoding).__name__}, which encodes its clips "
                "too; leave it out"
            )
        encoding = instead
        notes.append(
            f"encoded by {type(instead).__name__}, as chosen: the checkpoint was trained on images that were "
            "published encoded"
        )
    seen = sorted({each for one in found for each in one.about.fingerprints})
    return Model(found, encoding, where, seen, notes)


def encode_clip(source: Source, model: Model, options: Options) -> Encoded:
    """Find the face and the apex of a clip, and encode it.

    Raises:
        MerError: a name that is not UTF-8, frames that cannot be read, no face, an image where frames are
            needed or the reverse, one frame only, or images of another size than the network's.
    """
    encoding, about = model.encoding, model.about
    if shown(source.path) != str(source.path):  # clip tables hold text
        raise MerError(f"{source.path}: its name is not UTF-8; rename it")
    if (source.kind == "image") != (encoding is None):
        raise MerError(f"{source.path}: {_other_kind(source, model)}")
    numbers = [] if encoding is None else list(list_frames(source.path))
    if len(numbers) == 1:
        raise MerError(f"{source.path}: one frame, which shows no motion; give two or more")
    row, notes = _row(source, model, options, numbers)
    table = validate(pd.DataFrame([row], dtype=object), source.path)
    faces = _face_options(about, options)
    _check_face(table, encoding, faces)
    ready = make_ready(table, encoding, faces=faces, progress=False)
    with tempfile.TemporaryDirectory(prefix="mer-") as cache:
        made = encode(
            ready.clips, encoding, faces=ready.faces, device=model.device, cache=Path(cache), progress=False
        )
        images = made.images  # a memory map, which outlives its file
    if encoding is None and list(images.shape[1:]) != about.shape:
        channels, height, width = about.shape
        raise MerError(
            f"{source.path}: {images.shape[3]}x{images.shape[2]} pixels; the checkpoint was trained on "
            f"encoded images of {width}x{height} with {channels} channels"
        )
    if _is_seen(table, model):
        notes.append("a clip that begins with the same frame was trained on: this is no test of the network")
    used = ready.clips.iloc[0]
    if ready.spotted and used["apex"] == used["onset"]:
        notes.append("nothing moves: the spotted apex is the onset")
    face = None if ready.faces is None else ready.faces[0]
    return Encoded(source, used, numbers, face, images, bool(ready.spotted), [*model.notes, *notes])


def frames_read(encoded: Encoded) -> list[int]:
    """The frame numbers that were encoded: from onset to offset, where these are given."""
    onset, offset = (
        None if pd.isna(encoded.row[name]) else int(encoded.row[name]) for name in ("onset", "offset")
    )
    return [
        number
        for number in encoded.numbers
        if (onset is None or number >= onset) and (offset is None or number <= offset)
    ]


def _row(
    source: Source, model: Model, options: Options, numbers: Sequence[int]
) -> tuple[dict[str, Any], list[str]]:
    """The clip's row of a clip table, and what the user should know."""
    about = model.about
    notes: list[str] = []
    row: dict[str, Any] = {"database": "input", "subject": "input", "clip": source.name, "label": "unknown"}
    row |= {"onset": None, "apex": None, "offset": None, "fps": options.fps}
    if source.kind == "image":
        return row | {"image": str(source.path)}, notes
    ends = {name: getattr(options, name) for name in ("onset", "apex", "offset")}
    for name, number in ends.items():
        if number is not None and number not in numbers:
            raise MerError(
                f"{source.path}: no frame {number}, which --{name} names; it has {len(numbers)} frames, "
                f"{numbers[0]} to {numbers[-1]}"
            )
    if about.task == "classification":
        row |= {"onset": numbers[0], "offset": numbers[-1]}
    row |= {name: number for name, number in ends.items() if number is not None}
    if options.fps is None and source.kind == "video":
        row["fps"] = _frame_rate(source.path)
    if row["fps"] is not None and about.fps and not about.fps[0] / 1.5 <= row["fps"] <= about.fps[-1] * 1.5:
        trained = " to ".join(f"{rate:g}" for rate in dict.fromkeys((about.fps[0], about.fps[-1])))
        notes.append(f"{row['fps']:g} frames a second; the checkpoint was trained at {trained}")
    return row | {
        "frames": str(source.path),
        "cropped": options.cropped,
        "landmarks": None if options.landmarks is None else str(options.landmarks),
    }, notes


def _frame_rate(path: Path) -> float | None:
    """Frames a second, as a video's container has it; None where it has none."""
    with _opened(path) as video:
        rate = float(video.get(import_opencv().CAP_PROP_FPS))
    return rate if 0 < rate < 100_000 else None


def _is_seen(table: pd.DataFrame, model: Model) -> bool:
    try:
        check_apart(model.seen, table, [0], source=model.checkpoints[0].path)
    except MerError as error:
        if not str(error).startswith("leak:"):
            raise
        return True
    return False


def _face_options(about: checkpoint.About, options: Options) -> FaceOptions:
    chosen: dict[str, Any] = dict(about.faces)
    if options.faces is not None:
        chosen["method"] = options.faces
    return FaceOptions(**chosen)


def _check_face(table: pd.DataFrame, encoding: nn.Module | None, faces: FaceOptions) -> None:
    """Raise MerError where a face is needed and none is found; what is found is kept for `make_ready`."""
    if encoding is None or bool(table["cropped"].all()) or faces.method == "none":
        return
    path = table["frames"].iloc[0]
    try:
        (face,) = locate_all(table, faces, progress=False)
    except MerError as error:
        if faces.method != "landmarks" or pd.notna(table["landmarks"].iloc[0]):
            raise
        raise MerError(
            f"{path}: the checkpoint was trained with faces.method=landmarks; give --landmarks FILE (68 "
            "points of the first frame), or --faces haar"
        ) from error
    if face.method == "not found":
        raise MerError(
            f"{path}: no face found; give --landmarks FILE, --cropped if the frames show the face alone, or "
            "--faces none to use whole frames"
        )


def _other_kind(source: Source, model: Model) -> str:
    """Why a clip is not of the kind that a model reads."""
    if source.kind == "image":
        return "one image; name the folder of frames that it lies in"
    data = model.about.run.get("data") or "a database"
    return (
        f"the checkpoint was trained on images that were published encoded (data={data}), and does not know "
        "how to encode frames; give such images, or choose with --encoding NAME (apex_flow_ipol is near to "
        "megc2019_uvos)"
    )


def shown(path: Path) -> str:
    """A path as text that can be printed, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def kind_of(path: Path) -> Kind:
    """What lies at a path that is there."""
    if path.is_dir():
        return "frames"
    return "video" if is_video(path) else "image"
