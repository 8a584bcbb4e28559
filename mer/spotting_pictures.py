"""``mer figures spotting``: the videos of a finished run over time."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mer import runs
from mer.data.frames import list_frames, read_clip
from mer.data.preparation import make_ready
from mer.data.videos import find_videos
from mer.errors import MerError
from mer.plots import save_figure
from mer.prepare import face_options, make_encoding, read_table
from mer.spotting_scores import SpotOptions, spotted
from mer.spotting_timeline import timeline
from mer.table_formats import SYNTHETIC_TITLE

VIDEO = ["database", "subject", "video"]
THUMBNAILS = 10
Pictures = dict[int, NDArray[np.uint8]]


def draw(arguments: Sequence[str]) -> list[Path]:
    """Draw videos of a run folder, at its last epoch; returns the paths of the pictures.

    Intervals are those of `SpotOptions`, in frames where the rate is not known. Where the frames themselves
    cannot be read, the pictures are drawn without them, and stderr says why.

    Raises:
        MerError: no finished run that spots, or no such video in it.
    """
    parser = argparse.ArgumentParser(prog="mer figures spotting", description="Draw videos over time.")
    parser.add_argument("run", type=Path, help="a run folder, with plan.yaml in it")
    parser.add_argument(
        "--video", action="append", default=[], help="its name, or <database>/<subject>/<video>"
    )
    options = parser.parse_args(list(arguments))
    run: Path = options.run
    plan = runs.read_plan(run)
    frames, expressions = runs.read_spotting(run, partial=True)
    frames = frames[frames["epoch"] == frames.groupby("fold")["epoch"].transform("max")]
    names = _chosen(run, frames, options.video)
    pictures = _thumbnails(run, frames, names)
    paths = []
    for name in names:
        rows, true = (part[(part[VIDEO] == list(name)).all(axis=1)] for part in (frames, expressions))
        found = spotted(rows, _options(rows))[["onset", "offset"]].to_numpy()
        mark = SYNTHETIC_TITLE if plan.synthetic else ""
        made_by = "/".join(run.absolute().parts[-5:])  # no path of the machine
        title = f"{mark}{'/'.join(name)}, by {made_by}"
        figure = timeline(rows, true, found, title, thumbnails=pictures.get(name))
        path = run / "figures" / f"spotting-{'.'.join(name)}.png"
        save_figure(figure, path)
        paths.append(path)
    return paths


def _chosen(run: Path, frames: pd.DataFrame, asked: Sequence[str]) -> list[tuple[str, ...]]:
    """The videos that were asked for; the first that holds an expression where none was."""
    there = [tuple(map(str, row)) for row in frames[VIDEO].drop_duplicates().to_numpy()]
    if not asked:
        inside = frames[frames["inside"]]
        return [tuple(map(str, row)) for row in inside[VIDEO].to_numpy()[:1]] or there[:1]
    chosen = []
    for text in asked:
        found = [name for name in there if text in (name[-1], "/".join(name))]
        if not found:
            some = ", ".join("/".join(name) for name in there[:5])
            raise MerError(f"{run}: no video {text}; it has {some}{' and others' if len(there) > 5 else ''}")
        chosen += found
    return list(dict.fromkeys(chosen))


def _options(rows: pd.DataFrame) -> SpotOptions:
    """The default rule; without a rate, that of 200 frames a second."""
    if rows["fps"].notna().all():
        return SpotOptions()
    usual = SpotOptions()
    return SpotOptions(
        unit="frames", **{name: 200 * getattr(usual, name) for name in ("smoothing", "least", "greatest")}
    )


def _thumbnails(
    run: Path, frames: pd.DataFrame, names: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], Pictures]:
    """A few frames of each video, as the run's own config finds them, cut out as it saw them."""
    fold = str(frames["fold"].iloc[0])
    try:
        cfg = OmegaConf.create(runs.read_record(run, fold).get("config"))
        if "data" not in cfg:
            raise MerError(f"{run}: the record of fold {fold} holds no config of its data")
        table = read_table(cfg)
        videos = find_videos(table.clips, table.still).table
        keys = [tuple(row) for row in videos[["database", "subject", "clip"]].to_numpy()]
        videos = videos[[key in set(names) for key in keys]].reset_index(drop=True)
        ready = make_ready(videos, make_encoding(cfg), faces=face_options(cfg), apex=cfg.apex)
        pictures = {}
        for number, row in ready.clips.iterrows():
            path = Path(row["frames"])
            there = np.array(list(list_frames(path)))
            shown = there[np.linspace(0, len(there) - 1, min(THUMBNAILS, len(there))).astype(int)]
            face = ready.faces[int(str(number))] if ready.faces else None
            clip = read_clip(path, shown.tolist(), grey=False, face=face)
            images = clip.permute(0, 2, 3, 1).numpy()
            pictures[tuple(row[["database", "subject", "clip"]])] = dict(
                zip(shown.tolist(), images, strict=True)
            )
    except MerError as error:
        print(f"drawn without frames: {error}", file=sys.stderr)
        return {}
    return pictures
