"""Figures of spotting: what they show, and their pixels decoded again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mer.data.intensity import STATES, true_intensity
from mer.plots import save_figure
from mer.spotting_figures import contrast_figure, roc_figure
from mer.spotting_metrics import frame_auc, roc_curve
from mer.spotting_timeline import STATE_COLOURS, timeline

NUMBERS = np.arange(101, 201)
TRUE = true_intensity(NUMBERS, [130], [140], [160])


def video(score: "np.typing.NDArray[np.float32]" = TRUE, fps: float = 50.0) -> pd.DataFrame:
    return pd.DataFrame({"frame": NUMBERS, "fps": fps, "intensity": TRUE, "score": score})


def expressions(*rows: tuple[int, int, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["onset", "offset", "label"])


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def colours(figure: Figure, path: Path) -> set[tuple[int, ...]]:
    save_figure(figure, path)
    pixels = np.rint(imread(path)[..., :3] * 255).astype(int)
    return set(map(tuple, pixels.reshape(-1, 3).tolist()))


def test_timeline_shows_states_and_intervals(tmp_path: Path) -> None:
    figure = timeline(video(), expressions((130, 160, "surprise")), [[133, 155]], "Video $x_1$")
    shown = texts(figure)
    for text in ("Video $x_1$", "surprise", "true", "predicted", "spotted", *STATES):
        assert text in shown
    assert "frame (50 a second: 2.00 s)" in shown
    assert not {"no expression", "none spotted", "not defined"} & set(shown)
    there = colours(figure, tmp_path / "video.png")
    assert {tuple(round(255 * part) for part in to_rgb(colour)) for colour in STATE_COLOURS.values()} <= there
    bars = {(patch.get_x(), patch.get_width()) for patch in figure.axes[2].patches}  # type: ignore[attr-defined]
    assert bars == {(129.5, 31), (132.5, 23)}


def test_timeline_of_nothing() -> None:
    unknown = video(fps=np.nan).assign(intensity=np.nan)
    figure = timeline(unknown, expressions(), [], "Still")
    shown = texts(figure)
    assert {"no expression", "none spotted", "not defined", "frame"} <= set(shown)
    assert figure.legends[0].get_texts()[0].get_text() == "predicted"  # no line of the true one


def test_timeline_says_where_scores_are_scaled() -> None:
    figure = timeline(video(5 * TRUE - 2), expressions(), [], "LBP")
    assert "predicted, scaled to 0..1" in texts(figure)
    line = figure.axes[0].lines[1].get_ydata()
    np.testing.assert_allclose(np.asarray(line, dtype=float), TRUE, atol=1e-6)
    # A third of the range is not told from a low intensity, unless it is asked for.
    for scaled, highest in ((False, 0.3), (True, 1)):
        figure = timeline(video(np.float32(0.3) * TRUE), expressions(), [], "LBP", scaled=scaled)
        assert np.asarray(figure.axes[0].lines[1].get_ydata(), dtype=float).max() == pytest.approx(highest)
        assert ("predicted, scaled to 0..1" in texts(figure)) == scaled


def test_timelines_thumbnails_are_the_frames(tmp_path: Path) -> None:
    images = {101: np.full((20, 16, 3), (10, 200, 30), np.uint8), 150: np.full((20, 16, 3), 77, np.uint8)}
    figure = timeline(video(), expressions(), [], "Video", thumbnails=images)
    assert {"101", "150"} <= set(texts(figure))
    assert {(10, 200, 30), (77, 77, 77)} <= colours(figure, tmp_path / "video.png")
    bare = timeline(video(), expressions(), [], "Video")
    assert figure.get_figheight() > bare.get_figheight()
    with pytest.raises(ValueError, match="no frame 99"):
        timeline(video(), expressions(), [], "Video", thumbnails={99: images[101]})
    with pytest.raises(ValueError, match="needs a frame"):
        timeline(video()[:0], expressions(), [], "Video")


def test_roc_curves_stand_in_the_order_of_their_area(tmp_path: Path) -> None:
    inside = np.arange(100) % 4 == 0
    random = np.random.default_rng(0).normal(size=100)
    curves = {}
    for name, gain in (("HOOF", 0.2), ("Proposed", 3.0), ("LBP $x$", 1.0)):
        score = random + gain * inside
        curves[name] = (*roc_curve(inside, score)[:2], frame_auc(inside, score))
    figure = roc_figure(curves, "SYNTHETIC DATA: ROC")
    legend = [text for text in texts(figure) if ": 0." in text]
    assert legend == [
        *(f"{name}: {curves[name][2]:.4f}" for name in ("Proposed", "LBP $x$", "HOOF")),
        "chance: 0.5000",
    ]
    assert "SYNTHETIC DATA: ROC" in texts(figure)
    save_figure(figure, tmp_path / "roc.png")
    assert imread(tmp_path / "roc.png").shape[:2] == (780, 820)
    with pytest.raises(ValueError, match="no curve"):
        roc_figure({})


def test_contrast_maps_share_a_scale_a_row(tmp_path: Path) -> None:
    maps = {"L1 - C2": np.zeros((3, 8, 8)), "L1 - L2": np.ones((3, 8, 8))}
    maps["L1 - C2"][1, 2, 3] = 5
    frames = [np.full((30, 30, 3), 90 + k, np.uint8) for k in range(3)]
    figure = contrast_figure(maps, ["1", "2", "3"], "Contrast", frames=frames)
    assert {"L1 - C2", "L1 - L2", "1", "2", "3", "Contrast", "5"} <= set(texts(figure))
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 9
    assert [image.get_clim() for image in images[3:]] == [(0, 5)] * 3 + [(0, 1)] * 3
    assert {(90, 90, 90), (92, 92, 92)} <= colours(figure, tmp_path / "contrast.png")


def test_a_long_title_of_contrast_maps_stays_within_the_figure(tmp_path: Path) -> None:
    one = {"L1 - C2": np.ones((1, 8, 8))}
    short, long = (contrast_figure(one, ["1"], title) for title in ("A", "W" + 40 * " wide" + "\nby $x$"))
    assert long.get_figheight() > short.get_figheight()
    assert "by $x$" in long.texts[0].get_text()
    save_figure(long, tmp_path / "contrast.png")
    pixels = imread(tmp_path / "contrast.png")[..., :3]
    border = np.concatenate([pixels[:, :4].ravel(), pixels[:, -4:].ravel(), pixels[:4].ravel()])
    assert (border == 1).all()


def test_contrast_maps_that_do_not_fit() -> None:
    one = np.ones((2, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, h, w\)"):
        contrast_figure({"a": one, "b": one[:1]}, ["1", "2"], "")
    with pytest.raises(ValueError, match=r"\(N, h, w\)"):
        contrast_figure({}, [], "")
    with pytest.raises(ValueError, match="1 captions"):
        contrast_figure({"a": one}, ["1"], "")
