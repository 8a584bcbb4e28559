"""Figures of spotting: ROC curves of several methods, contrast maps. No torch.

As in `mer.plots`, which writes them: matplotlib's object interface, sizes in pixels. A video over time is in
`mer.spotting_timeline`.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from mer.plots import DPI

__all__ = ["contrast_figure", "roc_figure"]


def contrast_figure(
    maps: Mapping[str, ArrayLike],
    captions: Sequence[str],
    title: str,
    *,
    frames: Sequence[NDArray[np.uint8]] | None = None,
) -> Figure:
    """Contrast maps over time: a row a map, a column a step, one colour scale a row.

    Args:
        maps: name, such as ``L1 - C2`` of the paper's equation 1 -> (N, h, w), 0 or more: how strong the
            contrast is at each place, for instance the mean absolute value over channels.
        captions: N, under the columns, of one or two lines.
        title: above it; each of its lines is wrapped to the figure's width.
        frames: N of (H, W, 3) uint8, as a row above the maps.

    Returns:
        Figure of 104 pixels a column and a row.

    Raises:
        ValueError: no map, other shapes, or not N captions or frames.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in maps.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or 0 in shape:
        raise ValueError(f"maps have the shapes {sorted(shapes)}: (N, h, w) of one shape are needed")
    count = shape[0]
    if len(captions) != count or (frames is not None and len(frames) != count):
        raise ValueError(f"{len(captions)} captions for maps of {count} steps, or not as many frames")
    cell, gap, left, right, bottom = 104, 8, 110, 70, 48
    rows = len(arrays) + (frames is not None)
    needed = left + count * (cell + gap) + right
    width = max(needed, 640)
    left += (width - needed) // 2
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, width // 10)]
    heading = 24 + 22 * len(lines)
    height = heading + rows * (cell + gap) + bottom
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def add(row: int, x: float, wide: float) -> Axes:
        y = 1 - (heading + row * (cell + gap) + cell) / height
        axes = figure.add_axes((x / width, y, wide / width, cell / height))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    for row, name in enumerate([*([""] if frames is not None else []), *arrays]):
        picture = frames is not None and row == 0
        highest = 1.0 if picture else float(arrays[name].max()) or 1.0
        for column in range(count):
            axes = add(row, left + column * (cell + gap), cell)
            axes.spines[:].set_visible(False)
            if picture:
                assert frames is not None
                axes.imshow(frames[column], interpolation="antialiased")
            else:
                image = axes.imshow(
                    arrays[name][column], cmap="magma", vmin=0, vmax=highest, interpolation="nearest"
                )
            if column == 0:
                axes.set_ylabel(name, fontsize=8.5, rotation=0, ha="right", va="center", parse_math=False)
            if row == rows - 1:
                axes.set_xlabel(captions[column], fontsize=8, parse_math=False)
        if not picture:
            bar = add(row, left + count * (cell + gap) + 4, 12)
            figure.colorbar(image, cax=bar, ticks=[0, highest], format="{x:.2g}")
            # Inside the bar's height: the next row's begins just below.
            for text, side in zip(bar.get_yticklabels(), ("bottom", "top"), strict=True):
                text.set(fontsize=7.5, va=side)
            bar.tick_params(length=2)
    figure.text(0.5, 1 - 12 / height, "\n".join(lines), ha="center", va="top", fontsize=9, parse_math=False)
    return figure


def roc_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike, float]], title: str = "ROC curves of frames"
) -> Figure:
    """The ROC curves of several methods in one plot, the best first in its legend.

    Args:
        curves: name -> (false positive rate, true positive rate, area), the rates (P,) as
            `mer.spotting_metrics.roc_curve` gives them.
        title: above it.

    Returns:
        Figure of 820 x 780 pixels.

    Raises:
        ValueError: no curve.
    """
    if not curves:
        raise ValueError("no curve to draw")
    figure = Figure(figsize=(820 / DPI, 780 / DPI), dpi=DPI)
    axes = figure.add_axes((0.11, 0.1, 0.85, 0.8))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle=(0, (2, 2)), label="chance: 0.5000")
    order = sorted(curves, key=lambda name: -curves[name][2])
    # Colours stay with the order in which the methods were given: a table's.
    names = list(curves)
    for name in order:
        rates, area = curves[name][:2], curves[name][2]
        place = names.index(name)
        axes.plot(
            np.asarray(rates[0]),
            np.asarray(rates[1]),
            color=f"C{place % 10}",
            linestyle=["-", "--", ":"][place // 10 % 3],
            linewidth=1.8,
            label=f"{name}: {area:.4f}",
        )
    axes.set_xlim(-0.005, 1.005)
    axes.set_ylim(-0.005, 1.005)
    axes.set_xlabel("false positive rate: frames outside that are spotted", fontsize=8.5)
    axes.set_ylabel("true positive rate: frames inside that are spotted", fontsize=8.5)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.legend(
        [*handles[1:], handles[0]], [*labels[1:], labels[0]], loc="lower right", fontsize=8, title="AUC"
    )
    legend.get_title().set_fontsize(8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.text(0.53, 0.965, title, ha="center", va="top", fontsize=10, parse_math=False)
    return figure
