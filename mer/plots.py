"""Figures: a confusion matrix, a sheet of encoded images, a grid of pictures; their files. No torch.

Everything uses matplotlib's object interface: pyplot keeps every figure alive and may look for a screen.
Class names and captions are shown as they are: no character of theirs starts a formula.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from mer.atomic import write_atomically
from mer.errors import MerError
from mer.metrics import present_classes

__all__ = ["confusion_figure", "image_sheet", "picture_grid", "save_figure"]

# A power of two: pixels / DPI * DPI is exact, so no rounding of matplotlib's can lose or add a pixel.
DPI = 128


def confusion_figure(cm: ArrayLike, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: each cell shows clips and percent of its row; the colour is the percent.

    The row of a class without clips is grey and has no percents.

    Args:
        cm: counts (K, K), integers, rows true, columns predicted.
        classes: K class names, in the order of the matrix.
        title: wrapped to the figure's width.

    Returns:
        Figure of (260 + 110 K) x (140 + 90 K) pixels, plus 24 pixels of height a further title line.

    Raises:
        ValueError: not a square matrix of counts >= 0, or not K names.
    """
    counts = np.asarray(cm)
    present = present_classes(counts)
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(
            f"the confusion matrix has type {counts.dtype}: counts of clips (integers) are needed"
        )
    num_classes = len(counts)
    if num_classes == 0 or num_classes != len(classes):
        raise ValueError(f"{len(classes)} class names for a confusion matrix of {num_classes} classes")
    totals = counts.sum(axis=1)
    share = counts / np.maximum(totals, 1)[:, None]

    # Margins in pixels; the matrix's cells are 110 x 90 whatever K is.
    left, right, bottom = 190, 70, 84
    width, height = left + right + 110 * num_classes, 90 * num_classes
    heading = textwrap.wrap(title, width // 10) or [""]
    top = 32 + 24 * len(heading)
    total_height = bottom + height + top
    figure = Figure(figsize=(width / DPI, total_height / DPI), dpi=DPI)
    axes = figure.add_axes(
        (left / width, bottom / total_height, 110 * num_classes / width, height / total_height)
    )
    shown = np.ma.masked_array(share, mask=np.broadcast_to(~present[:, None], share.shape))
    axes.set_facecolor("0.9")
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if share[row, column] > 0.6 else "black"
        if not present[row]:
            axes.text(column, row, "0", ha="center", va="center", fontsize=9.5, color="0.5")
            continue
        axes.text(
            column, row - 0.12, f"{counts[row, column]}", ha="center", va="center", fontsize=11, color=colour
        )
        percent = f"{100 * share[row, column]:.1f} %"
        axes.text(column, row + 0.2, percent, ha="center", va="center", fontsize=7, color=colour)
    ticks = range(num_classes)
    names = ["\n".join(textwrap.wrap(name, 13)) or name for name in classes]
    rows = [
        f"{name}\n{total} clip{'' if total == 1 else 's'}" for name, total in zip(names, totals, strict=True)
    ]
    axes.set_xticks(ticks, names, fontsize=8, parse_math=False)
    axes.set_yticks(ticks, rows, fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", fontsize=8.5, labelpad=8)
    axes.set_ylabel("true", fontsize=8.5, labelpad=8)
    axes.spines[:].set_visible(False)
    # White lines between cells.
    axes.set_xticks(np.arange(1, num_classes) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, num_classes) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    figure.text(
        0.5, 1 - 16 / total_height, "\n".join(heading), ha="center", va="top", fontsize=9.5, parse_math=False
    )
    return figure


def image_sheet(images: ArrayLike, captions: Sequence[str], title: str, columns: int = 8) -> Figure:
    """A grid of images with a caption under each. One image pixel is a block of whole screen pixels.

    Images are enlarged by the smallest whole factor that makes their longer side 168 pixels or more.

    Args:
        images: (N, C, H, W), C 1 (grey) or 3 (red, green, blue); uint8, or floats that round to 0..255.
        captions: N captions, each wrapped to its image's width.
        title: wrapped to the sheet's width.
        columns: images a row.

    Returns:
        Figure whose pixels are the images' values: saved at its own dpi, nothing is resampled.

    Raises:
        ValueError: another shape, no image, values outside 0..255, or not N captions.
    """
    pixels = _rgb(images)
    count, height, width, _ = pixels.shape
    if len(captions) != count:
        raise ValueError(f"{len(captions)} captions for {count} images")
    if columns < 1:
        raise ValueError(f"columns is {columns}: at least 1 is needed")
    factor = math.ceil(168 / max(height, width))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor, width * factor

    # A narrow image still gets room for some words.
    cell_width, gap, line = max(width, 140), 12, 14
    # Monospace, so that characters are known to fit: 6.5 points at 128 dpi are 6.96 pixels a character.
    wrapped = [_wrap(caption, cell_width // 7) for caption in captions]
    cell_height = height + 6 + line * max(text.count("\n") + 1 for text in wrapped) + gap
    across = min(columns, count)
    down = math.ceil(count / across)
    sheet_width = max(across * (cell_width + gap) + gap, 320)
    heading = textwrap.wrap(title, sheet_width // 10)
    top = 24 * len(heading) + 2 * gap if heading else gap
    sheet_height = top + down * cell_height

    figure = Figure(figsize=(sheet_width / DPI, sheet_height / DPI), dpi=DPI)
    canvas = np.full((sheet_height, sheet_width, 3), 255, dtype=np.uint8)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for index, (image, text) in enumerate(zip(pixels, wrapped, strict=True)):
        y = top + index // across * cell_height
        x = gap + index % across * (cell_width + gap) + (cell_width - width) // 2
        canvas[y : y + height, x : x + width] = image
        centre = x + width / 2 - 0.5
        axes.text(
            centre,
            y + height + 6,
            text,
            ha="center",
            va="top",
            fontsize=6.5,
            family="monospace",
            parse_math=False,
        )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    if heading:
        axes.text(
            sheet_width / 2, gap, "\n".join(heading), ha="center", va="top", fontsize=9.5, parse_math=False
        )
    return figure


def picture_grid(
    blocks: Mapping[str, Mapping[str, Sequence[ArrayLike]]],
    columns: Sequence[str],
    title: str,
    notes: Sequence[str] = (),
) -> Figure:
    """Pictures of any sizes in rows and columns, each row named; rows belong to blocks, such as a clip's.

    Args:
        blocks: name of a block -> name of a row -> a picture (H, W, 3) uint8 a column. A block's name may
            have several lines, and stands at the left of its first row.
        columns: names, above the first row.
        title: above it, wrapped to the figure's width.
        notes: lines below the title, smaller, wrapped too.

    Returns:
        Figure of 112 pixels a column and 118 a row, beside its names.

    Raises:
        ValueError: nothing to show, or a row without as many pictures as there are columns.
    """
    lengths = {len(row) for rows in blocks.values() for row in rows.values()}
    if lengths != {len(columns)} or not columns:
        raise ValueError(f"rows of {sorted(lengths)} pictures for {len(columns)} columns")
    cell, gap, block_gap = 104, 8, 14
    named = any(name for rows in blocks.values() for name in rows)
    left, right = 160 + 120 * named, 20
    width = max(left + len(columns) * (cell + gap) + right, 640)
    headings = [_wrap(name, 15) for name in columns]
    heads = 16 * max(name.count("\n") + 1 for name in headings)
    titles = [part for line in title.splitlines() for part in textwrap.wrap(line, (width - 40) // 10)]
    small = [part for line in notes for part in textwrap.wrap(line, (width - 40) // 8)]
    top = 18 + 22 * len(titles) + 18 * len(small) + 12 + heads + 6
    count = sum(map(len, blocks.values()))
    height = top + count * (cell + gap) + len(blocks) * block_gap
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, parse_math=False, **style)

    for number, line in enumerate(titles):
        write(width / 2, 18 + 22 * number, line, ha="center", va="top", fontsize=9.5)
    for number, line in enumerate(small):
        write(
            width / 2,
            18 + 22 * len(titles) + 18 * number,
            line,
            ha="center",
            va="top",
            fontsize=7.5,
            color="0.3",
        )
    for column, name in enumerate(headings):
        x = left + column * (cell + gap) + cell / 2
        write(x, top - 6, name, ha="center", va="bottom", fontsize=7, linespacing=1.15)
    y = float(top)
    for block, rows in blocks.items():
        write(14, y + 4, block, ha="left", va="top", fontsize=7.5, weight="bold", linespacing=1.3)
        for name, row in rows.items():
            words = _wrap(name, 17)
            write(left - 10, y + cell / 2, words, ha="right", va="center", fontsize=7, linespacing=1.2)
            for column, picture in enumerate(row):
                x = left + column * (cell + gap)
                place = (x / width, 1 - (y + cell) / height, cell / width, cell / height)
                axes = figure.add_axes(place)
                axes.set_axis_off()
                axes.imshow(np.asarray(picture), interpolation="antialiased")
            y += cell + gap
        y += block_gap
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG at the figure's own dpi, or an SVG. The same figure gives the same bytes.

    It is written beside ``path`` and renamed: a reader sees the old file or the whole new one. Missing
    folders are made.

    Raises:
        MerError: ``path`` ends neither in ``.png`` nor in ``.svg``.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise MerError(f"{path}: figures are written as PNG or SVG; end the name in .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    # What matplotlib writes about itself and the time: files would change with it.
    about = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with rc_context({"svg.hashsalt": "mer"}):  # names of the parts of an SVG, else drawn at random
        write_atomically(
            path, lambda scratch: figure.savefig(scratch, format=kind, dpi=figure.dpi, metadata=about)
        )


def _rgb(images: ArrayLike) -> NDArray[np.uint8]:
    """Images (N, C, H, W) of values 0..255 as (N, H, W, 3) uint8, checked."""
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise ValueError(f"images have shape {array.shape}: (N, C, H, W) with C 1 or 3 is needed")
    if array.size == 0:
        raise ValueError(f"images have shape {array.shape}: nothing to show")
    rounded = np.rint(array)
    # Written so that nan fails too.
    if not np.all((rounded >= 0) & (rounded <= 255)):
        raise ValueError(f"images have values {array.min()}..{array.max()}: 0..255 is needed")
    colour_last = rounded.astype(np.uint8).transpose(0, 2, 3, 1)
    return np.broadcast_to(colour_last, (*colour_last.shape[:3], 3))


def _wrap(text: str, width: int) -> str:
    """Each line of ``text`` wrapped to ``width`` characters; line breaks are kept."""
    return "\n".join("\n".join(textwrap.wrap(part, width)) for part in text.splitlines())
