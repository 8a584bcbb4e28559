"""The bars of a table: as long as the numbers beside them."""

from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from mer import table
from mer.errors import MerError
from mer.table_cells import Cell, RowCells
from mer.table_file import load_table
from mer.table_picture import OURS, PAPER, table_figure
from tests.test_table import render, write_run, write_table


def cell(*scores: float, paper: str = "") -> Cell:
    return Cell(paper=paper, scores=list(scores), absent="not run", interval=None, difference=None)


def test_a_bar_is_as_long_as_its_number(tmp_path: Path) -> None:
    found = load_table(write_table(tmp_path))
    nothing = [cell()] * (len(found.columns) - 1)
    rows = [
        RowCells(found.rows[0], [cell(0.5, 0.7), *nothing], ""),
        RowCells(found.rows[1], [cell(0.25, paper="52.80%"), *nothing], ""),
        RowCells(found.rows[2], [cell(), *nothing], ""),  # no number: no row
    ]
    figure = table_figure(found, rows, "title")
    first, *others = figure.axes
    colours = {OURS: "ours", PAPER: "paper"}
    drawn = [bar for bar in first.patches if isinstance(bar, Rectangle)]
    bars = {(colours[to_hex(bar.get_facecolor())], round(bar.get_width(), 6)) for bar in drawn}
    assert bars == {("ours", 0.6), ("ours", 0.25), ("paper", 0.528)}
    assert [text.get_text() for text in first.texts] == ["0.6000", "0.2500", "52.80%"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["Majority", "Net [1]"]
    assert not any(axes.patches for axes in others)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "the paper's"]
    # The 1 of a panel and the 0 of the next one are not one number.
    sides = [tick.get_horizontalalignment() for tick in first.get_xticklabels()]
    assert sides == ["left", "center", "right"]
    assert not table_figure(found, rows[:1], "title").legends  # nothing to tell apart


def test_it_is_written_beside_the_table(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    write_run(tmp_path)
    write_run(tmp_path, "narrow")
    render(path, "--picture")
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.width > 1000


def test_half_a_table_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="--picture: draws the scores of a whole table"):
        table.main([str(write_table(tmp_path)), "--picture", "--partial"])
