"""Figures: decoded again from their PNG."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.typing import NDArray

from mer.errors import MerError
from mer.plots import confusion_figure, image_sheet, picture_grid, save_figure

CM = np.array([[219, 22, 9], [40, 62, 7], [0, 0, 0]])
CLASSES = ["negative", "positive", "surprise"]


def saved_pixels(figure: Figure, path: Path) -> NDArray[np.uint8]:
    """The figure, saved and decoded: (H, W, 3) uint8."""
    save_figure(figure, path)
    pixels: NDArray[np.uint8] = np.rint(imread(path)[..., :3] * 255).astype(np.uint8)
    return pixels


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def colour_image(colour: tuple[int, int, int], size: int = 28) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, dtype=np.uint8)[:, None, None], (3, size, size)).copy()


def test_confusion_size_grows_with_the_classes(tmp_path: Path) -> None:
    three = saved_pixels(confusion_figure(CM, CLASSES, "STSTNet"), tmp_path / "three.png")
    assert three.shape == (140 + 90 * 3, 260 + 110 * 3, 3)
    seven = saved_pixels(
        confusion_figure(np.eye(7, dtype=int), list("abcdefg"), "Seven"), tmp_path / "seven.png"
    )
    assert seven.shape == (140 + 90 * 7, 260 + 110 * 7, 3)


def test_confusion_cells_show_count_and_row_percent() -> None:
    shown = texts(confusion_figure(CM, CLASSES, "STSTNet"))
    for text in (
        "219",
        "22",
        "9",
        "87.6 %",
        "8.8 %",
        "3.6 %",
        "62",
        "56.9 %",
        "negative\n250 clips",
        "STSTNet",
    ):
        assert text in shown
    # The absent class has no percents: 0 / 0 is not 0.
    assert "surprise\n0 clips" in shown
    assert "0.0 %" not in shown


def test_confusion_rows_run_down_and_colour_is_the_row_share(tmp_path: Path) -> None:
    cm = np.array([[1, 0], [100, 300]])
    pixels = saved_pixels(confusion_figure(cm, ["a", "b"], ""), tmp_path / "cm.png").astype(int)
    # Cells start 190 pixels from the left and 56 from the top; (8, 8) inside a cell is clear of text.
    corner = {(r, c): pixels[56 + 90 * r + 8, 190 + 110 * c + 8] for r in (0, 1) for c in (0, 1)}
    brightness = {cell: int(colour.sum()) for cell, colour in corner.items()}
    # Shares: 1 and 0 above, .25 and .75 below. 1 clip of 1 is darker than 300 of 400.
    assert brightness[0, 0] < brightness[1, 1] < brightness[1, 0] < brightness[0, 1]
    assert corner[0, 0][2] > corner[0, 0][0]  # blue


def test_confusion_absent_row_is_grey(tmp_path: Path) -> None:
    pixels = saved_pixels(confusion_figure(CM, CLASSES, ""), tmp_path / "cm.png")
    colour = pixels[56 + 90 * 2 + 8, 190 + 8]
    assert len(set(colour.tolist())) == 1
    assert 200 < colour[0] < 250


def test_names_are_not_formulas(tmp_path: Path) -> None:
    # An unmatched or a bad formula raises when drawn.
    figure = confusion_figure([[1, 0], [0, 1]], [r"$\nonsense$", "b"], r"CAS(ME)^2 $\nonsense$")
    save_figure(figure, tmp_path / "cm.png")
    save_figure(image_sheet(np.zeros((1, 1, 28, 28)), [r"$\nonsense$"], r"$\nonsense$"), tmp_path / "s.png")


@pytest.mark.parametrize(
    ("cm", "classes", "message"),
    [
        ([[1, 2]], ["a"], r"shape \(1, 2\)"),
        ([[1, 2], [3, 4]], ["a", "b", "c"], "3 class names for a confusion matrix of 2"),
        ([[1, -2], [3, 4]], ["a", "b"], "negative"),
        ([[0.5, 0.5], [0.0, 1.0]], ["a", "b"], "type float64: counts"),
    ],
)
def test_confusion_refuses(cm: list[list[float]], classes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_figure(cm, classes, "title")


def test_sheet_size(tmp_path: Path) -> None:
    figure = image_sheet(np.zeros((11, 3, 28, 28)), ["clip"] * 11, "Title", columns=4)
    # 28 x 6 = 168; 12 pixels between; 20 for a one-line caption; 48 for the title.
    assert saved_pixels(figure, tmp_path / "sheet.png").shape == (48 + 3 * (168 + 20 + 12), 4 * 180 + 12, 3)


def test_sheet_keeps_the_channel_order_and_the_order_of_images(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 20, 30)]
    images = np.stack([colour_image(colour) for colour in colours])
    pixels = saved_pixels(image_sheet(images, list("abcd"), "", columns=2), tmp_path / "sheet.png")
    left = (pixels.shape[1] - 2 * 168 - 12) // 2
    assert left == 12
    for index, colour in enumerate(colours):
        y, x = 12 + index // 2 * 200, left + index % 2 * 180
        block = pixels[y : y + 168, x : x + 168]
        np.testing.assert_array_equal(block, np.broadcast_to(colour, block.shape))


def test_sheet_pixels_are_blocks_of_the_images_own_values(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 28, 20)).astype(np.uint8)
    pixels = saved_pixels(image_sheet(images, ["one"], ""), tmp_path / "sheet.png")
    expected = images[0].transpose(1, 2, 0).repeat(6, axis=0).repeat(6, axis=1)
    # Centred in a cell of 140: (140 - 120) / 2 pixels from its left edge.
    np.testing.assert_array_equal(pixels[12 : 12 + 168, 22 : 22 + 120], expected)


def test_sheet_takes_grey_and_floats(tmp_path: Path) -> None:
    images = np.full((1, 1, 28, 28), 127.6, dtype=np.float32)
    pixels = saved_pixels(image_sheet(images, ["grey"], ""), tmp_path / "sheet.png")
    assert pixels[40, 40].tolist() == [128, 128, 128]


def test_large_images_are_not_enlarged() -> None:
    figure = image_sheet(np.zeros((1, 3, 400, 500)), ["large"], "")
    assert (figure.bbox.width, figure.bbox.height) == (500 + 24, 12 + 400 + 20 + 12)


def test_captions_wrap_inside_their_image() -> None:
    caption = "casme2 sub01 EP02_01f, a caption that would run into its neighbour\nsecond line"
    figure = image_sheet(np.zeros((2, 1, 28, 28)), [caption, ""], "")
    lines = next(text for text in texts(figure) if text.startswith("casme2")).split("\n")
    assert max(map(len, lines)) <= 168 // 7
    assert lines[-1] == "second line"
    assert "".join(" ".join(lines).split()) == "".join(caption.split())


@pytest.mark.parametrize(
    ("shape", "captions", "message"),
    [
        ((3, 28, 28), ["a"] * 3, r"\(N, C, H, W\)"),
        ((1, 28, 28, 3), ["a"], "C 1 or 3"),
        ((2, 2, 28, 28), ["a", "b"], "C 1 or 3"),
        ((0, 3, 28, 28), [], "nothing to show"),
        ((2, 3, 28, 28), ["a"], "1 captions for 2 images"),
    ],
)
def test_sheet_refuses_other_shapes(shape: tuple[int, ...], captions: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_sheet(np.zeros(shape), captions, "title")


@pytest.mark.parametrize("value", [-1.0, 256.0, float("nan"), float("inf")])
def test_sheet_refuses_other_values(value: float) -> None:
    images = np.zeros((1, 3, 28, 28))
    images[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match=r"0\.\.255 is needed"):
        image_sheet(images, ["a"], "title")


def test_sheet_refuses_no_columns() -> None:
    with pytest.raises(ValueError, match="columns is 0"):
        image_sheet(np.zeros((1, 1, 28, 28)), ["a"], "title", columns=0)


def test_saved_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    figure = confusion_figure(CM, CLASSES, "STSTNet")
    save_figure(figure, tmp_path / "a.png")
    save_figure(figure, tmp_path / "b.png")
    save_figure(confusion_figure(CM, CLASSES, "STSTNet"), tmp_path / "c.png")
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()
    assert b"Software" not in first
    assert b"matplotlib" not in first.lower()


def test_save_makes_folders_and_leaves_only_the_figure(tmp_path: Path) -> None:
    save_figure(confusion_figure(CM, CLASSES, "t"), tmp_path / "new" / "folder" / "cm.png")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["cm.png"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "cm.png"
    save_figure(confusion_figure(CM, CLASSES, "t"), path)
    old = path.read_bytes()
    broken = Figure()
    broken.text(0, 0, r"$\nonsense$")  # fails while it is drawn
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(broken, path)
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == ["cm.png"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "cm.png").mkdir()
    with pytest.raises(OSError, match=r"cm\.png"):
        save_figure(confusion_figure(CM, CLASSES, "t"), tmp_path / "cm.png")
    assert [item.name for item in tmp_path.iterdir()] == ["cm.png"]


def test_only_png_and_svg(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"end the name in \.png or \.svg"):
        save_figure(confusion_figure(CM, CLASSES, "t"), tmp_path / "cm.pdf")
    save_figure(confusion_figure(CM, CLASSES, "t"), tmp_path / "a.svg")
    save_figure(confusion_figure(CM, CLASSES, "t"), tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "<svg " in text
    assert "<dc:date>" not in text


def test_a_grid_has_its_pictures_in_rows_and_columns(tmp_path: Path) -> None:
    def plain(value: int) -> np.typing.NDArray[np.uint8]:
        return np.full((8, 8, 3), value, dtype=np.uint8)

    blocks = {
        "first": {"a": [plain(10), plain(20)], "b": [plain(30), plain(40)]},
        "second": {"": [plain(50)] * 2},
    }
    pixels = saved_pixels(picture_grid(blocks, ["x", "y"], "title", ["note"]), tmp_path / "grid.png")
    found = {value: np.argwhere((pixels == value).all(2)) for value in (10, 20, 30, 40, 50)}
    places = {value: np.median(at, axis=0).astype(int) for value, at in found.items()}
    columns = (places[20][1] - places[10][1], places[40][1] - places[30][1])
    assert columns == pytest.approx((112, 112), abs=1)
    assert places[30][0] - places[10][0] == pytest.approx(112, abs=1)
    assert all(len(at) > 0.95 * 104**2 for value, at in found.items() if value != 50)
    assert places[50][0] - places[30][0] == pytest.approx(112 + 14, abs=1)  # a gap before the next block
    with pytest.raises(ValueError, match=r"rows of \[1\] pictures for 2 columns"):
        picture_grid({"": {"": [plain(0)]}}, ["x", "y"], "title")
