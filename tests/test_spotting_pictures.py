"""`mer figures spotting`: pictures of a run's videos, with their frames where they can be read."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from mer import config, figures, runs
from mer.data.videos import find_videos, video_frames
from mer.errors import MerError
from mer.prepare import read_table
from mer.runs import RunKey
from tests.run_folder import make_metrics, make_plan, make_record
from tests.spotting_run import make_spotting_run, make_video

TINY = ["subjects=1", "clips_per_class=1", "still=1", "long=0", "size=32", "length=[40,44]"]


@pytest.fixture
def drawn_run(tmp_path: Path) -> Path:
    """A run that scored the videos of one drawn subject, in one fold."""
    overrides = ["experiment=lbp_difference", "data=synthetic_videos"]
    cfg = config.compose([*overrides, *(f"data.clips.{option}" for option in TINY)])
    table = read_table(cfg)
    videos = find_videos(table.clips, table.still)
    fold = f"{videos.table['database'][0]}/{videos.table['subject'][0]}"
    parts = []
    for number, (row, frames) in enumerate(zip(videos.table.itertuples(), video_frames(videos), strict=True)):
        true = videos.expressions[videos.expressions["video"] == number]
        pairs = [tuple(pair) for pair in true[["onset", "offset"]].to_numpy(dtype=int).tolist()]
        name = f"{row.database}/{row.subject}/{row.clip}"
        first = int(frames[0])
        parts.append(make_video(name, pairs, pairs, length=len(frames), fps=30, first=first))
    plan = make_plan(folds=[fold], videos=len(parts), synthetic=True, config=config.deciding(cfg))
    run = RunKey("net", "base", "drawn", "loso", 0).folder(tmp_path / "runs")
    runs.start(run, plan)
    with runs.claim(run, fold) as folder:
        scored = pd.concat([part[0] for part in parts]).assign(fold=fold, seed=0, epoch=1)
        runs.write_spotting(folder, scored, pd.concat([part[1] for part in parts]))
        none = pd.DataFrame({"p_a": np.empty(0)})
        record = make_record(plan, config=config.resolved(cfg))
        runs.finish(folder, none, make_metrics("smic/s1"), record)
    return run


def test_pictures_have_their_frames(drawn_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, _ = runs.read_spotting(drawn_run, partial=True)
    names = frames["video"].unique().tolist()
    videos = [word for name in names[:2] for word in ("--video", name)]
    figures.main(["spotting", str(drawn_run), *videos])
    printed = capsys.readouterr()
    paths = [Path(line) for line in printed.out.splitlines()]
    assert [path.name.split(".")[-2] for path in paths] == names[:2]
    assert printed.err == ""
    heights = [imread(path).shape[0] for path in paths]
    figures.main(["spotting", str(drawn_run), *videos[:2]])
    assert imread(paths[0]).shape[0] == heights[0]


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
