"""The picture of a prediction: its frames with the face that was found, the encoded image, the probabilities.

Of a clip that is spotted, it over time. The frames are the user's own, and may be of people who did not agree
to be published: look before you hand a picture on. matplotlib's object interface, sizes in pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from mer.data.faces import Face, cut
from mer.data.frames import read_clip
from mer.opencv import import_opencv
from mer.plots import DPI
from mer.prediction import Prediction
from mer.prediction_input import Model, frames_read
from mer.prediction_json import SYNTHETIC, corners
from mer.spotting_timeline import PREDICTED, timeline

_WIDTH, _EDGE, _GAP = 1280, 40, 16  # pixels
_TALLEST = 420  # of a panel
_BAR = 34  # height of a bar's row
_REST = "#b9c7d8"
_BOX = "#ffb000"
THUMBNAILS = 9
AROUND = 0.35  # of the face's size, what a thumbnail shows beside it


def draw_prediction(prediction: Prediction, model: Model, by: str) -> Figure:
    """The picture of a clip, 1280 pixels wide.

    Args:
        prediction: of a clip.
        model: that made it.
        by: the checkpoint, for the title.

    Raises:
        MerError: its frames cannot be read any more.
    """
    title = f"{prediction.encoded.source.name}: {headline(prediction, model.about.classes)}"
    below = f"{SYNTHETIC}: {by}" if model.about.synthetic else by
    if prediction.curve is not None:
        return _draw_spotted(prediction, model, title, below)
    return _draw_classified(prediction, model, title, below)


def headline(prediction: Prediction, classes: Sequence[str]) -> str:
    """The prediction in a few words."""
    winner = prediction.winner
    if prediction.intervals is None:
        assert winner is not None
        return f"{classes[winner]}, {100 * prediction.probabilities[winner]:.0f} %"
    count = len(prediction.intervals)
    if winner is None or prediction.leading is None:
        return "no expression spotted"
    name = f"{classes[winner]}, {100 * prediction.leading.probabilities[winner]:.0f} %"
    return name if count == 1 else f"{count} expressions, the strongest {name}"


def _draw_classified(prediction: Prediction, model: Model, title: str, below: str) -> Figure:
    panels = _panels(prediction, model)
    classes = model.about.classes
    ratios = [image.shape[1] / image.shape[0] for _, image, _ in panels]
    room = _WIDTH - 2 * _EDGE - _GAP * (len(panels) - 1)
    tall = min(_TALLEST, round(room / sum(ratios)))
    top, between, bottom = 84, 56, 64
    height = top + tall + between + _BAR * len(classes) + bottom
    figure = Figure(figsize=(_WIDTH / DPI, height / DPI), dpi=DPI)
    used = sum(tall * ratio for ratio in ratios) + _GAP * (len(panels) - 1)
    left = (_WIDTH - used) / 2
    for (caption, image, face), ratio in zip(panels, ratios, strict=True):
        box = (left / _WIDTH, 1 - (top + tall) / height, tall * ratio / _WIDTH, tall / height)
        _draw_panel(figure.add_axes(box), caption, image, face)
        left += tall * ratio + _GAP
    wide = 170
    axes = figure.add_axes(
        (
            wide / _WIDTH,
            bottom / height,
            1 - (wide + 150) / _WIDTH,
            _BAR * len(classes) / height,
        )
    )
    _draw_bars(axes, prediction, classes, len(model.checkpoints))
    _write_title(figure, title, below, height)
    return figure


def _panels(prediction: Prediction, model: Model) -> list[tuple[str, NDArray[np.uint8], Face | None]]:
    """Captions, images (H, W, 3) and, where one is drawn into it, the face."""
    encoded = prediction.encoded
    panels: list[tuple[str, NDArray[np.uint8], Face | None]] = []
    if encoded.numbers:
        onset, apex, offset = (
            None if pd.isna(encoded.row[name]) else int(encoded.row[name])
            for name in ("onset", "apex", "offset")
        )
        inside = frames_read(encoded)
        middle = inside[len(inside) // 2] if apex is None else apex
        numbers = [inside[0] if onset is None else onset, middle, inside[-1] if offset is None else offset]
        named = "middle" if apex is None else "spotted apex" if encoded.spotted else "apex"
        captions = [
            f"onset, frame {numbers[0]}",
            f"{named}, frame {numbers[1]}",
            f"offset, frame {numbers[2]}",
        ]
        frames = read_clip(encoded.source.path, numbers, grey=False).numpy()
        face = encoded.face
        if face is not None and face.method != "whole frame":
            panels.append((f"frame {numbers[0]}", frames[0].transpose(1, 2, 0), face))
            frames = np.stack([cut(frame, face) for frame in frames])
        panels += [
            (caption, frame.transpose(1, 2, 0), None) for caption, frame in zip(captions, frames, strict=True)
        ]
    if (image := _encoded_image(prediction)) is not None:
        name = "as published" if model.encoding is None else type(model.encoding).__name__
        panels.append((f"encoded: {name}, {image.shape[1]}x{image.shape[0]}", image, None))
    return panels


def _encoded_image(prediction: Prediction) -> NDArray[np.uint8] | None:
    """The encoded image (H, W, 3), where it is a picture; values outside 0..255 are stretched to it."""
    images = prediction.encoded.images
    if len(images) != 1 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 8:
        return None
    pixels = images[0].permute(1, 2, 0).float().numpy()
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255:
        pixels = (pixels - low) / ((high - low) or 1) * 255
    return np.broadcast_to(np.rint(pixels).astype(np.uint8), (*pixels.shape[:2], 3))


def _draw_panel(axes: Axes, caption: str, image: NDArray[np.uint8], face: Face | None) -> None:
    axes.imshow(image, aspect="auto", interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(caption, fontsize=8, labelpad=6, parse_math=False)
    if face is not None:
        axes.add_patch(Polygon((corners(face) - 0.5).tolist(), fill=False, edgecolor=_BOX, linewidth=2))
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)


def _draw_bars(axes: Axes, prediction: Prediction, classes: Sequence[str], folds: int) -> None:
    """A bar a class, with the spread over the folds."""
    values = prediction.probabilities
    colours = [PREDICTED if k == prediction.winner else _REST for k in range(len(classes))]
    rows = np.arange(len(classes))
    axes.barh(rows, values, color=colours, height=0.62)
    if folds > 1:
        reach = np.minimum(prediction.spread, [values, 1 - values])  # a probability goes from 0 to 1
        axes.errorbar(values, rows, xerr=reach, fmt="none", ecolor="0.25", elinewidth=1.2, capsize=3)
    for row, value in enumerate(values):
        spread = f" ± {100 * prediction.spread[row]:.1f}" if folds > 1 else ""
        axes.text(1.01, row, f"{100 * value:.1f}{spread} %", va="center", fontsize=8.5)
    axes.set_yticks(rows, list(classes), fontsize=9, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.axvline(1 / len(classes), color="0.6", linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
    over = f"probability, mean of {folds} folds and their standard deviation" if folds > 1 else "probability"
    axes.set_xlabel(f"{over}; dashed: chance", fontsize=8)


def _write_title(figure: Figure, title: str, below: str, height: int) -> None:
    figure.text(
        *(0.5, 1 - 16 / height, title), ha="center", va="top", fontsize=13, weight="bold", parse_math=False
    )
    figure.text(
        *(0.5, 1 - 50 / height, below), ha="center", va="top", fontsize=8, color="0.35", parse_math=False
    )


def _draw_spotted(prediction: Prediction, model: Model, title: str, below: str) -> Figure:
    encoded, numbers = prediction.encoded, frames_read(prediction.encoded)
    classes = model.about.classes
    found = prediction.intervals or []
    rows = pd.DataFrame(
        {
            "frame": numbers,
            "fps": encoded.row["fps"],
            "intensity": np.nan,
            "score": prediction.curve,
        }
    )
    labels = [
        f"{classes[int(each.probabilities.argmax())]} {100 * each.probabilities.max():.0f} %"
        for each in found
    ]
    return timeline(
        rows,
        pd.DataFrame({"onset": [], "offset": [], "label": []}),
        [(each.onset, each.offset) for each in found],
        title,
        thumbnails=_thumbnails(prediction, numbers),
        known=False,
        labels=labels,
        below=below,
    )


def _thumbnails(prediction: Prediction, numbers: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Frames around the face, its crop drawn in: evenly spread, the nearest of them moved to each peak."""
    chosen = [numbers[k] for k in np.linspace(0, len(numbers) - 1, min(THUMBNAILS, len(numbers))).astype(int)]
    peaks = sorted(prediction.intervals or [], key=lambda found: -found.intensity)[: len(chosen)]
    free = list(range(len(chosen)))
    for found in peaks:
        nearest = min(free, key=lambda k: abs(chosen[k] - found.peak))
        free.remove(nearest)
        chosen[nearest] = found.peak
    shown = sorted(set(chosen))
    frames = read_clip(Path(prediction.encoded.source.path), shown, grey=False).permute(0, 2, 3, 1).numpy()
    face = prediction.encoded.face
    if face is None or face.method == "whole frame":
        return dict(zip(shown, frames, strict=True))
    cv2 = import_opencv()
    low, high = corners(face).min(axis=0), corners(face).max(axis=0)
    left, top = np.floor(np.maximum(low - AROUND * (high - low), 0)).astype(int)
    right, bottom = np.ceil(high + AROUND * (high - low)).astype(int)
    frames = frames[:, top:bottom, left:right]
    outline = [np.rint(corners(face) - 0.5 - (left, top)).astype(np.int32)]
    line = max(1, frames.shape[1] // 80)
    colour = tuple(int(_BOX[k : k + 2], 16) for k in (1, 3, 5))
    return {
        number: cv2.polylines(np.ascontiguousarray(frame), outline, True, colour, line, cv2.LINE_AA)
        for number, frame in zip(shown, frames, strict=True)
    }
