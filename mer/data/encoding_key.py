"""The key of an encoded set: what it was made from, told without decoding a frame."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from torch import nn

from mer.data.frames import file_stamp, is_video, list_frames

if TYPE_CHECKING:
    from mer.data.faces import Face


def set_key(
    clips: pd.DataFrame, encoding: nn.Module | None, faces: "Sequence[Face] | None", *, version: int
) -> str:
    """20 hex digits that change with a file, a frame number, a face or a parameter.

    Args:
        clips: a validated clip table.
        encoding: None where the clips are images already.
        faces: one a row, or None.
        version: of the encoded sets' format.

    Raises:
        MerError: a frame, video or image that is missing.
    """
    digest = hashlib.sha256(json.dumps([version, parameters(encoding)]).encode())
    for row in clips.itertuples(index=False):
        if encoding is None:
            files = [Path(str(row.image))]
        else:
            place = Path(str(row.frames))
            files = [place] if is_video(place) else list(list_frames(place).values())
            digest.update(f"{row.onset} {row.apex} {row.offset}".encode())
        for path in files:
            digest.update(file_stamp(path))
    for face in faces or ():
        eyes = face.eyes if getattr(encoding, "masks_eyes", False) else None
        digest.update(json.dumps([face.method, face.matrix, face.size, eyes]).encode())
    return digest.hexdigest()[:20]


def parameters(encoding: nn.Module | None) -> dict[str, object]:
    """The name of an encoding and its public attributes, as texts."""
    if encoding is None:
        return {"name": "none"}
    public = {
        key: repr(value)
        for key, value in vars(encoding).items()
        if not key.startswith("_") and key != "training"
    }
    return {"name": type(encoding).__name__, **public}
