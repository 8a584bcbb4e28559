"""What ``mer predict`` writes of a clip: ``<clip>.json``.

Format 1. All numbers are finite; what does not apply is null. Frame numbers are those of the files' names;
the frames of a video are numbered from 1.

``format``
    1.
``warning``
    "trained on SYNTHETIC DATA" where the checkpoint was, else null.
``notes``
    a list of texts: what may make the prediction worse.
``input``
    ``path`` as given, ``name``, ``kind`` (video, frames or image), ``frames`` (how many), ``fps``.
``checkpoint``
    ``path`` as given, ``folds`` (their names; the probabilities are the mean over them), ``task``,
    ``network``, ``encoding``, ``classes``, ``databases``, ``run``, ``mer``, ``commit``.
``face``
    ``method`` (haar, landmarks or whole frame), ``size`` (width, height) of the crop, ``corners`` (four x,
    y from the top left, clockwise, in pixels from the frame's left and upper edge), ``eyes_from``. Null
    where whole frames were used.
``frames``
    ``onset``, ``apex``, ``offset``, and ``apex_from``: "given" or "spotted". Null where it was not needed.
``emotion``
    the class of the highest probability; of a clip that is spotted, that of its highest interval, or null
    where none was spotted.
``probabilities``, ``spread``
    class -> mean over the folds, and their standard deviation. Of a clip that is spotted, of all its frames,
    weighted by their intensity.
``curve``
    of a clip that is spotted: ``frame``, ``seconds`` (from the first frame; null without fps),
    ``intensity`` 0..1, ``state``, ``probabilities`` (class -> a number a frame); lists of one length.
``intervals``
    of a clip that is spotted, in order: ``onset``, ``peak``, ``offset`` (frame numbers, both ends included),
    ``onset_seconds``, ``offset_seconds`` (begin of the first frame and end of the last; null without fps),
    ``intensity`` of the peak, ``emotion``, ``probabilities``.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.data.faces import Face
from mer.errors import MerError
from mer.prediction import Interval, Prediction
from mer.prediction_input import Model, Source, frames_read, shown

FORMAT = 1
DIGITS = 6  # of probabilities: more is noise
SYNTHETIC = "trained on SYNTHETIC DATA"


def as_json(prediction: Prediction, model: Model, checkpoint: Path) -> dict[str, Any]:
    """The content of ``<clip>.json``, as the text of this module has it.

    Args:
        prediction: of a clip.
        model: that made it.
        checkpoint: its path, as given.
    """
    encoded, about = prediction.encoded, model.about
    fps = None if pd.isna(encoded.row["fps"]) else float(encoded.row["fps"])
    winner = prediction.winner
    known = asdict(about)
    return {
        "format": FORMAT,
        "warning": SYNTHETIC if about.synthetic else None,
        "notes": encoded.notes,
        "input": {
            "path": shown(encoded.source.path),
            "name": encoded.source.name,
            "kind": encoded.source.kind,
            "frames": len(encoded.numbers) or 1,
            "fps": fps,
        },
        "checkpoint": {
            "path": shown(checkpoint),
            "folds": [
                str(found.about.run.get("fold") or found.path.parent.name) for found in model.checkpoints
            ],
            **{name: known[name] for name in ("task", "network", "encoding", "classes", "databases", "run")},
            **{name: known[name] for name in ("mer", "commit")},
        },
        "face": None if encoded.face is None else _face(encoded.face),
        "frames": _frames(prediction),
        "emotion": None if winner is None else about.classes[winner],
        "probabilities": _by_class(prediction.probabilities, about.classes),
        "spread": _by_class(prediction.spread, about.classes) if len(model.checkpoints) > 1 else None,
        "curve": _curve(prediction, about.classes, fps),
        "intervals": None
        if prediction.intervals is None
        else [_interval(found, prediction, about.classes, fps) for found in prediction.intervals],
    }


def check_kept(path: Path, source: Source, checkpoint: Path) -> None:
    """Refuse to write over the prediction of another clip or checkpoint.

    Args:
        path: that is going to be written; nothing need be there.
        source: the clip.
        checkpoint: its path, as given.

    Raises:
        MerError: what lies there.
    """
    if not path.exists():
        return
    advice = "name another folder with --out, or remove the file"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        clip, by = found["input"]["path"], found["checkpoint"]["path"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise MerError(f"{path}: in the way, and no prediction of `mer predict`; {advice}") from error
    if (clip, by) != (shown(source.path), shown(checkpoint)):
        raise MerError(f"{path}: holds the prediction of {clip} by {by}, which would be lost; {advice}")


def corners(face: Face) -> NDArray[np.float64]:
    """(4, 2) the corners of a face's crop, from the top left, clockwise.

    In pixels from the frame's left and upper edge: what is 0 there is -0.5 for a face's matrix.
    """
    width, height = face.size
    crop = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    matrix = np.array(face.matrix).reshape(2, 3)
    found: NDArray[np.float64] = (crop - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T + 0.5
    return found


def _face(face: Face) -> dict[str, Any]:
    return {
        "method": face.method,
        "size": list(face.size),
        "corners": corners(face).round(2).tolist(),
        "eyes_from": face.eyes_from,
    }


def _frames(prediction: Prediction) -> dict[str, Any]:
    row = prediction.encoded.row
    numbers = {name: None if pd.isna(row[name]) else int(row[name]) for name in ("onset", "apex", "offset")}
    given = None if numbers["apex"] is None else "given"
    return {**numbers, "apex_from": "spotted" if prediction.encoded.spotted else given}


def _curve(prediction: Prediction, classes: list[str], fps: float | None) -> dict[str, Any] | None:
    if prediction.curve is None or prediction.of_frames is None:
        return None
    numbers = frames_read(prediction.encoded)
    first = prediction.encoded.numbers[0]
    return {
        "frame": numbers,
        "seconds": None if fps is None else [round((number - first) / fps, DIGITS) for number in numbers],
        "intensity": _rounded(prediction.curve),
        "state": prediction.states,
        "probabilities": {
            name: _rounded(column) for name, column in zip(classes, prediction.of_frames.T, strict=True)
        },
    }


def _interval(
    found: Interval, prediction: Prediction, classes: list[str], fps: float | None
) -> dict[str, Any]:
    begin, end = (
        found.onset - prediction.encoded.numbers[0],
        found.offset - prediction.encoded.numbers[0] + 1,
    )
    return {
        "onset": found.onset,
        "peak": found.peak,
        "offset": found.offset,
        "onset_seconds": None if fps is None else round(begin / fps, DIGITS),
        "offset_seconds": None if fps is None else round(end / fps, DIGITS),
        "intensity": round(found.intensity, DIGITS),
        "emotion": classes[int(found.probabilities.argmax())],
        "probabilities": _by_class(found.probabilities, classes),
    }


def _by_class(values: NDArray[np.float64], classes: list[str]) -> dict[str, float]:
    return dict(zip(classes, _rounded(values), strict=True))


def _rounded(values: NDArray[np.float64]) -> list[float]:
    rounded: list[float] = values.round(DIGITS).tolist()
    return rounded
