"""``mer figures spotting``: the videos of a finished run over time, and what its network contrasts."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import nn

from mer import checkpoint, runs
from mer.data.faces import Face
from mer.data.frames import read_clip
from mer.data.preparation import make_ready
from mer.data.videos import find_videos
from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet
from mer.plots import save_figure
from mer.prepare import face_options, make_encoding, read_table
from mer.spotting_figures import contrast_figure
from mer.spotting_scores import spotted, usual_options
from mer.spotting_summary import has_scale
from mer.spotting_timeline import timeline
from mer.table_formats import SYNTHETIC_TITLE

VIDEO = ["database", "subject", "video"]
THUMBNAILS = 10
CONTRASTS = ("eq 1\nL(t) - C(t+1)", "eq 2\nL(t) - L(t+1)", "eq 3\nL(t+1) - C(t)")
EXPLAINED = "L: local, C: context filter of frame t; mean absolute over channels"
Name = tuple[str, ...]  # of a video: database, subject, video


class Source(NamedTuple):
    """A video as the run saw it.

    Attributes:
        path: of its frames.
        face: cut out of them; None where whole frames were encoded.
        encoding: of the run.
        thumbnails: a few frames by number, (H, W, 3) uint8.
    """

    path: Path
    face: Face | None
    encoding: nn.Module
    thumbnails: dict[int, NDArray[np.uint8]]


def draw(arguments: Sequence[str]) -> list[Path]:
    """Draw videos of a run folder, at its last epoch; returns the paths of the pictures.

    Each over time, and of a time-contrasted network that kept its weights the contrast maps too. Intervals
    are those of `SpotOptions`, in frames where the rate is not known, and relative for a feature
    difference, whose scores have no scale. Where the frames themselves or the weights cannot be read, the
    pictures are drawn without, and stderr says why.

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
    untrained = not has_scale(plan)
    mark = SYNTHETIC_TITLE if plan.synthetic else ""
    made_by = "/".join(run.absolute().parts[-5:])  # no path of the machine
    problems: list[str] = []
    sources: dict[Name, Source] = {}
    try:
        sources = _find_sources(run, frames, names)
    except MerError as error:
        problems.append(f"drawn without frames: {error}")
    paths = []
    for name in names:
        rows, true = (part[(part[VIDEO] == list(name)).all(axis=1)] for part in (frames, expressions))
        found = spotted(rows, usual_options(rows, relative=untrained))[["onset", "offset"]].to_numpy()
        title = f"{mark}{'/'.join(name)}"
        path = run / "figures" / f"spotting-{'.'.join(name)}.png"
        source = sources.get(name)
        shown = None if source is None else source.thumbnails
        by = f"{title}, by {made_by}"
        save_figure(timeline(rows, true, found, by, thumbnails=shown, scaled=untrained), path)
        paths.append(path)
        if untrained or source is None:
            continue
        try:
            network = _read_network(run, str(rows["fold"].iloc[0]))
            figure = _draw_contrasts(network, source, rows, true, f"{title}\nby {made_by}\n{EXPLAINED}")
        except MerError as error:
            problems.append(f"drawn without contrast maps: {error}")
            continue
        paths.append(path.with_name(f"{path.stem}-contrast.png"))
        save_figure(figure, paths[-1])
    for problem in dict.fromkeys(problems):
        print(problem, file=sys.stderr)
    return paths


def _chosen(run: Path, frames: pd.DataFrame, asked: Sequence[str]) -> list[Name]:
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


def _find_sources(run: Path, frames: pd.DataFrame, names: Sequence[Name]) -> dict[Name, Source]:
    """Each video, as the run's own config finds it.

    Raises:
        MerError: the record holds no config, or the data are not there as they were.
    """
    fold = str(frames["fold"].iloc[0])
    cfg = OmegaConf.create(runs.read_record(run, fold).get("config"))
    if "data" not in cfg:
        raise MerError(f"{run}: the record of fold {fold} holds no config of its data")
    table = read_table(cfg)
    videos = find_videos(table.clips, table.still).table
    keys = [tuple(row) for row in videos[["database", "subject", "clip"]].to_numpy()]
    if gone := set(names) - set(keys):
        raise MerError(f"{table.source}: the video {'/'.join(min(gone))} of this run is no longer there")
    videos = videos[[key in set(names) for key in keys]].reset_index(drop=True)
    encoding = make_encoding(cfg)
    assert encoding is not None  # frames are scored
    ready = make_ready(videos, encoding, faces=face_options(cfg), apex=cfg.apex)
    faces: Sequence[Face | None] = ready.faces or [None] * len(ready.clips)
    sources: dict[Name, Source] = {}
    for (_, row), face in zip(ready.clips.iterrows(), faces, strict=True):
        name, path = (row["database"], row["subject"], row["clip"]), Path(row["frames"])
        there = frames["frame"][(frames[VIDEO] == list(name)).all(axis=1)].sort_values().to_numpy()
        shown = there[np.linspace(0, len(there) - 1, min(THUMBNAILS, len(there))).astype(int)].tolist()
        images = read_clip(path, shown, grey=False, face=face).permute(0, 2, 3, 1).numpy()
        sources[name] = Source(path, face, encoding, dict(zip(shown, images, strict=True)))
    return sources


def _read_network(run: Path, fold: str) -> TimeContrastNet:
    """The network as this fold left it."""
    folder = runs.fold_folder(run, fold)
    if not (folder / checkpoint.FILE).is_file():
        raise MerError(
            f"{folder}: no {checkpoint.FILE}; train with save_checkpoint=true (this fold is finished: remove "
            "its folder)"
        )
    network = checkpoint.load(folder).network
    assert isinstance(network, TimeContrastNet)
    return network


def _moments(rows: pd.DataFrame, expressions: pd.DataFrame) -> list[tuple[int, str]]:
    """Which frames to look at: their positions in ``rows``, and a caption each.

    The scored frame that is nearest to the apex of each expression; where that is not known, the
    expression's highest score; in a video without expressions the highest of all.
    """
    number, score = rows["frame"].to_numpy(), rows["score"].to_numpy()
    onsets, apexes, offsets = (
        expressions[column].to_numpy(np.float64, na_value=np.nan) for column in ("onset", "apex", "offset")
    )
    moments = []
    for label, onset, apex, offset in zip(expressions["label"], onsets, apexes, offsets, strict=True):
        if np.isnan(apex):
            held = (number >= onset) & (number <= offset)
            place, what = int(np.where(held, score, -np.inf).argmax()), "highest"
        else:
            place, what = int(np.abs(number - apex).argmin()), "apex"
        moments.append((place, f"{label}\n{what} at {number[place]}"))
    place = int(score.argmax())
    return moments or [(place, f"no expression\nhighest at {number[place]}")]


@torch.inference_mode()
def _draw_contrasts(
    network: TimeContrastNet, source: Source, rows: pd.DataFrame, expressions: pd.DataFrame, title: str
) -> Figure:
    """At each moment, the frame as it was encoded, and the three maps of it and the next frame.

    The last frame of a video is its own next one, as where it is scored.
    """
    rows = rows.sort_values("frame", ignore_index=True)
    places, captions = zip(*_moments(rows, expressions), strict=True)
    first = np.array(places)
    pairs = np.stack([first, np.minimum(first + 1, len(rows) - 1)], axis=1)
    numbers = rows["frame"].to_numpy()[pairs].ravel().tolist()
    clip = read_clip(source.path, numbers, grey=False, face=source.face)
    # A frame and the flow from it depend on no other frame than the next: two of them are enough.
    clips = clip.reshape(len(first), 2, *clip.shape[1:])
    encoded = source.encoding(clips, torch.full((len(first),), 2)).float()
    maps = network.contrast_maps(encoded).squeeze(1).abs().mean(2)
    frames = encoded[:, 0, :3].to(torch.uint8).permute(0, 2, 3, 1).numpy()
    named = {name: maps[:, equation].numpy() for equation, name in enumerate(CONTRASTS)}
    return contrast_figure(named, captions, title, frames=list(frames))
