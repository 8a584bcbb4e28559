"""`mer figures spotting`: pictures of a run's videos, with their frames where they can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread

from mer import config, figures, runs, spotting_pictures
from mer.checkpoint import FILE, write
from mer.data.encoded import encode
from mer.data.videos import Videos, find_videos, video_frames
from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet
from mer.prepare import make_encoding, read_table
from mer.runs import RunKey
from tests.checkpoints import SPOTTING, make_about
from tests.run_folder import make_metrics, make_plan, make_record, seal_again
from tests.spotting_run import make_spotting_run, make_video

TINY = ["subjects=1", "clips_per_class=1", "still=1", "long=0", "size=32", "length=[40,44]"]
NETWORK = (
    *("experiment=timecontrast_small", "network.width=0.0625", "network.context_dilation=2"),
    *("encoding.size=32", "encoding.warps=1", "encoding.outer_iterations=1"),
)
LBP = ("experiment=lbp_difference",)


def make_drawn_run(folder: Path, *overrides: str, highest: float = 0.9, fps: float = 30) -> Path:
    """A run that scored the videos of one drawn subject, in one fold; a network's weights are there.

    Scores rise to ``highest`` in each expression, and on the last frame of the video without one.
    """
    cfg = config.compose(["data=synthetic_videos", *overrides, *(f"data.clips.{option}" for option in TINY)])
    videos = drawn_videos(cfg)
    fold = f"{videos.table['database'][0]}/{videos.table['subject'][0]}"
    parts = []
    for number, (row, frames) in enumerate(zip(videos.table.itertuples(), video_frames(videos), strict=True)):
        true = videos.expressions[videos.expressions["video"] == number]
        pairs = [tuple(pair) for pair in true[["onset", "offset"]].to_numpy(dtype=int).tolist()]
        first, last = int(frames[0]), int(frames[-1])
        scored, expressions = make_video(
            f"{row.database}/{row.subject}/{row.clip}",
            pairs,
            pairs or [(last - 4, last + 4)],
            length=len(frames),
            fps=fps,
            first=first,
        )
        known = {name: true[name].to_numpy() for name in ("label", "apex")}
        parts.append((scored, expressions.assign(**known)))
    plan = make_plan(folds=[fold], videos=len(parts), synthetic=True, config=config.deciding(cfg))
    run = RunKey("net", "base", "drawn", "loso", 0).folder(folder / "runs")
    runs.start(run, plan)
    with runs.claim(run, fold) as into:
        scored = pd.concat([part[0] for part in parts]).assign(fold=fold, seed=0, epoch=1)
        scored["score"] *= highest / scored["score"].max()
        runs.write_spotting(into, scored, pd.concat([part[1] for part in parts]))
        if overrides != LBP:
            torch.manual_seed(0)
            options = config.resolved(cfg)["network"]
            about = make_about(**SPOTTING | {"network": options, "classes": ["a", "b"], "trained_on": [fold]})
            write(into, make_network(cfg), about)
        record = make_record(plan, config=config.resolved(cfg))
        runs.finish(into, pd.DataFrame({"p_a": np.empty(0)}), make_metrics("smic/s1"), record)
    return run


def drawn_videos(cfg: Any) -> Videos:
    table = read_table(cfg)
    return find_videos(table.clips, table.still)


def make_network(cfg: Any) -> TimeContrastNet:
    made = config.factory(config.resolved(cfg)["network"], TimeContrastNet, "network")
    network: TimeContrastNet = made(in_channels=5, num_classes=2).eval()
    return network


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """What was given to each figure of a kind, beside being drawn."""
    seen: dict[str, list[dict[str, Any]]] = {"timeline": [], "contrast_figure": []}
    for kind, calls in seen.items():
        original = getattr(spotting_pictures, kind)

        def record(*given: Any, original: Any = original, calls: Any = calls, **keywords: Any) -> Any:
            calls.append({"given": given, **keywords})
            return original(*given, **keywords)

        monkeypatch.setattr(spotting_pictures, kind, record)
    return seen.__getitem__


def ask(names: "list[str] | np.typing.NDArray[np.object_]") -> list[str]:
    return [word for name in names for word in ("--video", str(name))]


def test_pictures_have_their_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_drawn_run(tmp_path, *LBP)
    frames, _ = runs.read_spotting(run, partial=True)
    names = frames["video"].unique().tolist()
    figures.main(["spotting", str(run), *ask(names[:2])])
    printed = capsys.readouterr()
    paths = [Path(line) for line in printed.out.splitlines()]
    assert [path.name.split(".")[-2] for path in paths] == names[:2]
    assert printed.err == ""
    heights = [imread(path).shape[0] for path in paths]
    figures.main(["spotting", str(run), *ask(names[:1])])
    assert imread(paths[0]).shape[0] == heights[0]


def test_contrast_maps_are_those_of_the_encoded_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], drawn: Callable[[str], list[dict[str, Any]]]
) -> None:
    run = make_drawn_run(tmp_path, *NETWORK)
    cfg = config.compose(["data=synthetic_videos", *NETWORK, *(f"data.clips.{option}" for option in TINY)])
    videos = drawn_videos(cfg)
    figures.main(["spotting", str(run), *ask(videos.table["clip"].to_numpy())])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert [Path(line).name for line in printed.out.splitlines()] == [
        f"spotting-{row.database}.{row.subject}.{row.clip}{end}.png"
        for row in videos.table.itertuples()
        for end in ("", "-contrast")
    ]
    assert all(Path(line).is_file() for line in printed.out.splitlines())

    torch.manual_seed(0)
    network = make_network(cfg)
    encoded = encode(videos.table, make_encoding(cfg), progress=False)
    assert encoded.lengths is not None
    sequences = torch.split(encoded.images.float(), encoded.lengths.tolist())
    calls = drawn("contrast_figure")
    for number, (frames, sequence) in enumerate(zip(video_frames(videos), sequences, strict=True)):
        maps, captions, title = calls[number]["given"]
        assert title.startswith("SYNTHETIC DATA: ")
        true = videos.expressions[videos.expressions["video"] == number]
        if true.empty:  # the highest score is on the last frame, which is its own next one
            assert captions == (f"no expression\nhighest at {frames[-1]}",)
            eq1, eq2, eq3 = maps.values()
            assert not eq2.any()
            assert eq1 == pytest.approx(eq3)
            at, pair = len(frames) - 1, sequence[-1:].expand(2, -1, -1, -1)
        else:
            apex = int(true["apex"].iloc[0])
            assert captions == (f"{true['label'].iloc[0]}\napex at {apex}",)
            at = frames.tolist().index(apex)
            pair = sequence[at : at + 2]
        with torch.inference_mode():
            expected = network.contrast_maps(pair[None])[0].abs().mean(2)
        np.testing.assert_allclose(np.stack(list(maps.values()), axis=1), expected, atol=1e-6)
        (shown,) = calls[number]["frames"]
        np.testing.assert_array_equal(shown, sequence[at, :3].permute(1, 2, 0))
    assert len(calls) == len(videos.table)


def test_an_expression_without_an_apex_is_shown_at_its_highest_score(
    tmp_path: Path, drawn: Callable[[str], list[dict[str, Any]]]
) -> None:
    run = make_drawn_run(tmp_path, *NETWORK)
    (path,) = run.glob("fold-*/expressions.parquet")
    expressions = pd.read_parquet(path).assign(apex=pd.array([pd.NA] * 3, "Int64"))
    frames, _ = runs.read_spotting(run)
    frames["score"] = np.linspace(0, 1, len(frames))  # the highest: the last of each
    runs.write_spotting(path.parent, frames, expressions)
    seal_again(path.parent)
    figures.main(["spotting", str(run), *ask(expressions["video"].to_numpy())])
    captions = [call["given"][1] for call in drawn("contrast_figure")]
    rows = expressions.itertuples()
    assert captions == [(f"{row.label}\nhighest at {row.offset}",) for row in rows]


def test_without_weights_or_contrast_one_line_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_drawn_run(tmp_path, *NETWORK)
    (weights,) = run.glob(f"fold-*/{FILE}")
    weights.unlink()
    frames, _ = runs.read_spotting(run)
    figures.main(["spotting", str(run), *ask(frames["video"].unique())])
    printed = capsys.readouterr()
    assert "contrast" not in printed.out
    assert len(printed.out.splitlines()) == 4
    (line,) = printed.err.splitlines()
    assert f"{weights.parent}: no {FILE}; train with save_checkpoint=true" in line
    without = make_drawn_run(tmp_path / "without", *NETWORK, "network.contrast=false")
    figures.main(["spotting", str(without)])
    assert "drawn without contrast maps: network.contrast=false" in capsys.readouterr().err


@pytest.mark.parametrize("fps", [30, np.nan])
def test_scores_without_a_scale_are_relative(
    tmp_path: Path, drawn: Callable[[str], list[dict[str, Any]]], fps: float
) -> None:
    # All below the threshold of a network's intensities.
    for overrides, spots in ((LBP, True), (NETWORK, False)):
        run = make_drawn_run(tmp_path / str(spots), *overrides, highest=0.1, fps=fps)
        figures.main(["spotting", str(run)])
        call = drawn("timeline")[-1]
        assert (len(call["given"][2]) > 0) == spots
        assert call["scaled"] == spots


def test_pictures_without_frames_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_spotting_run(tmp_path / "runs", RunKey("net", "base", "faces", "loso", 0))
    figures.main(["spotting", str(run)])
    printed = capsys.readouterr()
    assert printed.out.strip() == str(run / "figures/spotting-casme2.s1.v1.png")
    assert printed.err.startswith("drawn without frames: ")
    figures.main(["spotting", str(run), "--video", "casme2/s2/v2", "--video", "v1"])
    assert len(capsys.readouterr().out.splitlines()) == 4
    with pytest.raises(MerError, match="no video v9; it has casme2/s1/v1"):
        figures.main(["spotting", str(run), "--video", "v9"])


def test_a_run_that_spots_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no run here"):
        figures.main(["spotting", str(tmp_path)])
