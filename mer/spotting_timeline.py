"""A video over time: its frames, true and predicted intensity and states, true and spotted intervals.

As in `mer.plots`, which writes it: matplotlib's object interface, sizes in pixels. No torch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from mer.data.intensity import STATES, UNDEFINED, states
from mer.plots import DPI

# Rise in greens, fall in oranges, darker towards the apex; told apart in grey too.
STATE_COLOURS = dict(
    zip(STATES, ("#eeeeee", "#b8e0b0", "#4ea35a", "#b2182b", "#ee8636", "#fbd3a4"), strict=True)
)
PREDICTED, TRUE = "#1f5fa8", "#222222"
_WIDTH, _LEFT, _RIGHT = 1280, 150, 30  # pixels


def timeline(
    frames: pd.DataFrame,
    expressions: pd.DataFrame,
    found: ArrayLike,
    title: str,
    *,
    thumbnails: Mapping[int, NDArray[np.uint8]] | None = None,
    scaled: bool = False,
    known: bool = True,
    labels: Sequence[str] | None = None,
    below: str = "",
) -> Figure:
    """One video over time: frames, predicted and true intensity, their states, and the intervals.

    Scores that leave 0..1 are scaled to it, and the legend says so; states need it. Where the true intensity
    is not defined, there is no line and no state.

    Args:
        frames: rows of one video: frame, fps, intensity (true, may be missing), score (predicted).
        expressions: rows of the same video: onset, offset, label.
        found: (n, 2) spotted intervals, onset and offset, both included.
        title: above it.
        thumbnails: frame number -> (H, W, 3) uint8, red, green, blue; drawn side by side, each with a line to
            its time. None or empty: no such row.
        scaled: scale the scores even where they lie in 0..1, as for a method whose scores have no scale.
        known: whether the true expressions are. Else nothing is said of them.
        labels: a text for each spotted interval.
        below: small, under the title.

    Returns:
        Figure 1280 pixels wide.

    Raises:
        ValueError: no frame, or a thumbnail of a frame that is not there.
    """
    if frames.empty:
        raise ValueError("a timeline needs a frame")
    frames = frames.sort_values("frame")
    number = frames["frame"].to_numpy(dtype=np.int64)
    score = frames["score"].to_numpy(dtype=np.float64)
    true = frames["intensity"].to_numpy(dtype=np.float64, na_value=np.nan)
    if strange := sorted(set(thumbnails or {}) - set(number.tolist())):
        raise ValueError(f"the video has no frame {strange[0]} to show")
    label = "predicted"
    if scaled or score.min() < 0 or score.max() > 1:
        score = (score - score.min()) / ((score.max() - score.min()) or 1)
        label = "predicted, scaled to 0..1"
    shown = dict(sorted((thumbnails or {}).items()))
    picture = _thumbnail_height(shown)

    # Heights in pixels, from the top.
    heading, curve, bottom = 84 + 24 * bool(below), 260, 58
    bands, bars = (60, 64) if known else (30, 32)
    height = heading + picture + curve + 22 + bands + 14 + bars + bottom
    figure = Figure(figsize=(_WIDTH / DPI, height / DPI), dpi=DPI)
    limits = (float(number[0]) - 0.5, float(number[-1]) + 0.5)

    def add(top: int, tall: int) -> Axes:
        box = (_LEFT / _WIDTH, 1 - (top + tall) / height, 1 - (_LEFT + _RIGHT) / _WIDTH, tall / height)
        axes = figure.add_axes(box)
        axes.set_xlim(*limits)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    top = heading + picture
    axes = add(top, curve)
    intervals = expressions[["onset", "offset"]].to_numpy(dtype=np.int64)
    pairs = np.asarray(found, np.int64).reshape(-1, 2)
    for onset, offset in (intervals if known else pairs).tolist():
        axes.axvspan(onset - 0.5, offset + 0.5, color="0.93", zorder=0)
    if not np.isnan(true).all():
        axes.plot(number, true, color=TRUE, linewidth=1.3, linestyle=(0, (4, 2)), label="true")
    axes.plot(number, score, color=PREDICTED, linewidth=1.6, label=label)
    axes.set_ylim(-0.03, 1.05)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("intensity", fontsize=8.5)
    axes.tick_params(labelsize=8, labelbottom=False)
    for k, ((onset, offset), text) in enumerate(zip(pairs.tolist(), labels or [], strict=False)):
        # Inside the figure, and not over the one before.
        part = ((onset + offset) / 2 - limits[0]) / (limits[1] - limits[0])
        side = "left" if part < 0.06 else "right" if part > 0.94 else "center"
        place = limits[0] if side == "left" else limits[1] if side == "right" else (onset + offset) / 2
        axes.text(place, 1.03 - 0.07 * (k % 2), text, ha=side, va="top", fontsize=8, parse_math=False)
    lines = axes.get_legend_handles_labels()
    top += curve + 22

    axes = add(top, bands)
    _draw_bands(
        axes, number, {"true states": true, "predicted states": score} if known else {"states": score}
    )
    axes.tick_params(length=0, labelbottom=False)
    top += bands + 14

    axes = add(top, bars)
    rows = ["true", "spotted"] if known else ["spotted"]
    if known:
        _draw_bars(
            axes, 0, intervals, "0.35", "no expression", [str(label) for label in expressions["label"]]
        )
    _draw_bars(axes, len(rows) - 1, pairs, PREDICTED, "none spotted")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("frame", fontsize=8.5)
    axes.tick_params(axis="x", labelsize=8)
    fps = frames["fps"].to_numpy(dtype=np.float64, na_value=np.nan)[0]
    if np.isfinite(fps):
        axes.set_xlabel(f"frame ({fps:g} a second: {(number[-1] - number[0] + 1) / fps:.2f} s)", fontsize=8.5)

    _draw_thumbnails(figure, shown, limits, heading, picture, height)
    figure.text(0.5, 1 - 12 / height, title, ha="center", va="top", fontsize=10, parse_math=False)
    figure.text(
        *(0.5, 1 - 38 / height, below), ha="center", va="top", fontsize=8, color="0.35", parse_math=False
    )
    seen = sorted({int(k) for values in (true, score) for k in states(values)} - {UNDEFINED})
    patches = [Patch(color=STATE_COLOURS[STATES[k]], label=STATES[k]) for k in seen]
    figure.legend(
        handles=[*lines[0], *patches],
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - (heading - 48) / height),
        ncols=len(lines[0]) + len(patches),
        fontsize=8,
        frameon=False,
        borderpad=0,
        handlelength=1.8,
        columnspacing=1.4,
    )
    return figure


def _draw_bands(axes: Axes, number: NDArray[np.int64], curves: Mapping[str, NDArray[np.float64]]) -> None:
    """A band of states for each curve, one below the other."""
    for row, values in enumerate(curves.values()):
        state = states(values)
        if (state == UNDEFINED).all():
            axes.text(number[0], row, "not defined", fontsize=7.5, va="center", color="0.4")
        # A run of one state is one rectangle.
        starts = np.flatnonzero(np.diff(state, prepend=state[0] - 1))
        ends = np.append(starts[1:], len(state)) - 1
        for start, end in zip(starts, ends, strict=True):
            if state[start] == UNDEFINED:
                continue
            right = number[end + 1] if end + 1 < len(number) else number[end] + 1
            axes.barh(
                row,
                right - number[start],
                left=number[start] - 0.5,
                height=0.8,
                color=STATE_COLOURS[STATES[state[start]]],
                linewidth=0,
                antialiased=False,
            )
    axes.set_yticks(range(len(curves)), list(curves), fontsize=8)
    axes.set_ylim(len(curves) - 0.5, -0.5)
    axes.spines[:].set_visible(False)


def _draw_bars(
    axes: Axes,
    y: int,
    intervals: NDArray[np.int64],
    colour: str,
    none: str,
    labels: Sequence[str] | None = None,
) -> None:
    """A bar an interval, with its label; where there are no intervals, a word."""
    if len(intervals) == 0:
        # Left in the figure, at the height of its row.
        axes.text(
            *(0.01, y, none), transform=axes.get_yaxis_transform(), fontsize=7.5, va="center", color="0.4"
        )
    onset, offset = intervals.T
    axes.barh(np.full(len(onset), y), offset - onset + 1, left=onset - 0.5, height=0.7, color=colour)
    for x, label in zip((onset + offset) / 2, labels or [], strict=False):
        axes.text(
            *(x, y, label),
            ha="center",
            va="center",
            fontsize=7,
            color="white",
            parse_math=False,
            clip_on=True,
        )


def _thumbnail_height(shown: Mapping[int, NDArray[np.uint8]]) -> int:
    """Pixels for the row of thumbnails, with their lines to the time axis."""
    if not shown:
        return 0
    wide = min((_WIDTH - _LEFT - _RIGHT) / len(shown) - 8, 150)
    tallest: float = max(image.shape[0] / image.shape[1] for image in shown.values())
    return round(wide * tallest) + 44


def _draw_thumbnails(
    figure: Figure,
    shown: Mapping[int, NDArray[np.uint8]],
    limits: tuple[float, float],
    top: int,
    picture: int,
    height: int,
) -> None:
    """The frames side by side, a line from each down to its time."""
    if not shown:
        return
    whole = figure.add_axes((0, 0, 1, 1))
    whole.set_axis_off()
    whole.set_xlim(0, _WIDTH)
    whole.set_ylim(height, 0)
    span = _WIDTH - _LEFT - _RIGHT
    pitch = span / len(shown)
    wide = min(pitch - 8, 150)
    for place, (number, image) in enumerate(shown.items()):
        centre = _LEFT + (place + 0.5) * pitch
        tall = wide * image.shape[0] / image.shape[1]
        box = ((centre - wide / 2) / _WIDTH, 1 - (top + tall) / height, wide / _WIDTH, tall / height)
        axes = figure.add_axes(box)
        axes.imshow(image, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        whole.text(centre, top + tall + 3, str(number), ha="center", va="top", fontsize=7)
        time = _LEFT + (number - limits[0]) / (limits[1] - limits[0]) * span
        whole.plot([centre, time], [top + tall + 18, top + picture], color="0.6", linewidth=0.8)
