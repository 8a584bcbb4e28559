"""A table as a picture: a bar a row and column, ours beside what the paper prints. No torch."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mer.plots import DPI
from mer.table_cells import Cell, RowCells
from mer.table_file import Table, printed_number

LABEL, PANEL, RIGHT = 300, 210, 30  # widths in pixels: the rows' labels, a column's bars, the edge
ROW, FOOT, BARE_FOOT, LINE = (
    46,
    70,
    36,
    24,
)  # heights: a row, under the bars with and without legend, a title's line
OURS, PAPER = "#2b6cb0", "#b7bdc7"
BAR = 0.36  # of a row's height
SHORT = 0.35  # a bar that has no room for its number


def table_figure(table: Table, rows: Sequence[RowCells], title: str) -> Figure:
    """Bars of all scores, a panel a column; a row without a number has none.

    Args:
        table: as its file says.
        rows: its rows with their cells.
        title: over the picture, wrapped.

    Returns:
        Figure; ours with their spread over seeds or their interval, the paper's in grey where it prints any.
    """
    shown = [row for row in rows if any(cell.scores or _printed(cell) is not None for cell in row.cells)]
    width = LABEL + PANEL * len(table.columns) + RIGHT
    heading = textwrap.wrap(title, width // 10) or [""]
    top = 44 + LINE * len(heading)
    printed = any(_printed(cell) is not None for row in shown for cell in row.cells)
    foot = FOOT if printed else BARE_FOOT
    height = top + ROW * max(1, len(shown)) + foot
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.text(
        12 / width, 1 - 14 / height, "\n".join(heading), ha="left", va="top", fontsize=9.5, parse_math=False
    )
    places = [float(number) for number in range(len(shown))]
    for number, column in enumerate(table.columns):
        left = (LABEL + PANEL * number) / width
        axes = figure.add_axes((left, foot / height, (PANEL - 20) / width, ROW * max(1, len(shown)) / height))
        axes.set_title(column.header, fontsize=8.5, parse_math=False)
        cells = [row.cells[number] for row in shown]
        for place, cell in zip(places, cells, strict=True):
            _draw(axes, place, cell)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"], fontsize=7)
        # Inside of their panel, where the neighbour's 0 does not make a 10 of this one's 1.
        first, _, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        names = ["\n".join(textwrap.wrap(row.row.label, 38)[:2]) for row in shown]
        axes.set_yticks(places, names if number == 0 else [""] * len(shown), fontsize=8, parse_math=False)
        axes.tick_params(length=0)
        axes.grid(axis="x", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
    if printed:
        colours = {"ours": OURS, "the paper's": PAPER}
        handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=handles, loc="lower left", ncols=2, fontsize=8, frameon=False)
    return figure


def _draw(axes: Axes, place: float, cell: Cell) -> None:
    """The bars of a cell, each with its number: ours above the paper's."""
    printed = _printed(cell)
    apart = BAR / 2 if cell.scores and printed is not None else 0.0
    if cell.scores:
        mean = float(np.mean(cell.scores))
        axes.barh(place - apart, mean, height=BAR, color=OURS)
        low, high = cell.interval or (mean, mean)
        if len(cell.scores) > 1:
            spread = float(np.std(cell.scores, ddof=1))
            low, high = mean - spread, mean + spread
        axes.plot([low, high], [place - apart] * 2, color="black", linewidth=1)
        _number(axes, f"{mean:.4f}", mean, place - apart, "white")
    if printed is not None:
        axes.barh(place + apart, printed, height=BAR, color=PAPER)
        _number(axes, cell.paper, printed, place + apart, "black")


def _number(axes: Axes, text: str, value: float, at: float, colour: str) -> None:
    """The number in its bar, or beside one that is too short for it."""
    inside = value > SHORT
    x, colour = (0.02, colour) if inside else (value + 0.02, "black")
    axes.text(x, at, text, va="center", fontsize=7, color=colour, parse_math=False)


def _printed(cell: Cell) -> float | None:
    return printed_number(cell.paper) if cell.paper else None
