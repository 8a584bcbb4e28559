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
from omegaconf import DictConfig, OmegaConf

from mer import config, runs
from mer.data.faces import Face
from mer.data.frames import read_clip
from mer.data.preparation import make_ready
from mer.data.videos import find_videos
from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet
from mer.plots import save_figure
from mer.prepare import face_options, make_encoding, read_table
from mer.spotting_figures import contrast_figure
from mer.spotting_scores import SpotOptions, spotted
from mer.spotting_timeline import timeline
from mer.table_formats import SYNTHETIC_TITLE
from mer.weights import FILE, load_weights

VIDEO = ["database", "subject", "video"]
THUMBNAILS = 10
CONTRASTS = ("eq 1\nL(t) - C(t+1)", "eq 2\nL(t) - L(t+1)", "eq 3\nL(t+1) - C(t)")
EXPLAINED = "L: local, C: context filter; mean absolute value over channels"
Name = tuple[str, ...]  # of a video: database, subject, video


class Source(NamedTuple):
    """Where a video's frames lie, and the face that the run cut out of them."""

    path: Path
    face: Face | None


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
    untrained = str(plan.config.get("network", {}).get("_target_", "")).endswith("FeatureDifference")
    mark = SYNTHETIC_TITLE if plan.synthetic else ""
    made_by = "/".join(run.absolute().parts[-5:])  # no path of the machine
    problems: list[str] = []
    cfg, sources = None, {}
    try:
        cfg = _read_config(run, str(frames["fold"].iloc[0]))
        sources = _find_sources(cfg, names)
    except MerError as error:
        problems.append(f"drawn without frames: {error}")
    paths = []
    for name in names:
        rows, true = (part[(part[VIDEO] == list(name)).all(axis=1)] for part in (frames, expressions))
        rows = rows.sort_values("frame", ignore_index=True)
        source = sources.get(name)
        thumbnails = None
        if source is not None:
            try:
                thumbnails = _thumbnails(source, rows)
            except MerError as error:
                problems.append(f"drawn without frames: {error}")
        found = spotted(rows, _options(rows, relative=untrained))[["onset", "offset"]].to_numpy()
        title = f"{mark}{'/'.join(name)}, by {made_by}"
        path = run / "figures" / f"spotting-{'.'.join(name)}.png"
        save_figure(timeline(rows, true, found, title, thumbnails=thumbnails, scaled=untrained), path)
        paths.append(path)
        if untrained or cfg is None or source is None or thumbnails is None:
            continue
        try:
            network = _read_network(run, plan, str(rows["fold"].iloc[0]))
            figure = _draw_contrasts(
                network, cfg, source, rows, true, f"{mark}{'/'.join(name)}\nby {made_by}\n{EXPLAINED}"
            )
        except MerError as error:
            problems.append(f"drawn without contrast maps: {error}")
            continue
        path = path.with_name(f"{path.stem}-contrast.png")
        save_figure(figure, path)
        paths.append(path)
    for problem in dict.fromkeys(problems):
        print(problem, file=sys.stderr)
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


def _options(rows: pd.DataFrame, *, relative: bool) -> SpotOptions:
    """The default rule; without a rate, that of 200 frames a second."""
    usual = SpotOptions(relative=relative)
    if rows["fps"].notna().all():
        return usual
    lengths = {name: 200 * getattr(usual, name) for name in ("smoothing", "least", "greatest")}
    return SpotOptions(relative=relative, unit="frames", **lengths)


def _read_config(run: Path, fold: str) -> DictConfig:
    """The config that a fold was made under, with what the plan leaves out: where the data lie."""
    cfg = OmegaConf.create(runs.read_record(run, fold).get("config"))
    if "data" not in cfg:
        raise MerError(f"{run}: the record of fold {fold} holds no config of its data")
    assert isinstance(cfg, DictConfig)
    return cfg


def _find_sources(cfg: DictConfig, names: Sequence[Name]) -> dict[Name, Source]:
    """The frames of each video, as the run's own config finds them."""
    table = read_table(cfg)
    videos = find_videos(table.clips, table.still).table
    keys = [tuple(row) for row in videos[["database", "subject", "clip"]].to_numpy()]
    videos = videos[[key in set(names) for key in keys]].reset_index(drop=True)
    ready = make_ready(videos, make_encoding(cfg), faces=face_options(cfg), apex=cfg.apex)
    faces: Sequence[Face | None] = ready.faces or [None] * len(ready.clips)
    return {
        (row["database"], row["subject"], row["clip"]): Source(Path(row["frames"]), face)
        for (_, row), face in zip(ready.clips.iterrows(), faces, strict=True)
    }


def _thumbnails(source: Source, rows: pd.DataFrame) -> dict[int, NDArray[np.uint8]]:
    """A few of the scored frames, cut out as the run saw them."""
    there = rows["frame"].to_numpy()
    shown = there[np.linspace(0, len(there) - 1, min(THUMBNAILS, len(there))).astype(int)].tolist()
    clip = read_clip(source.path, shown, grey=False, face=source.face)
    return dict(zip(shown, clip.permute(0, 2, 3, 1).numpy(), strict=True))


def _read_network(run: Path, plan: runs.Plan, fold: str) -> TimeContrastNet:
    """The network as this fold left it."""
    made = config.factory(plan.config["network"] | {"weights": None}, TimeContrastNet, "network")
    folder = runs.fold_folder(run, fold)
    if not (folder / FILE).is_file():
        raise MerError(
            f"{folder}: no {FILE}; train with save_weights=true (this fold is finished: remove its folder)"
        )
    network = config.call(made, "network", in_channels=5, num_classes=len(plan.classes))
    assert isinstance(network, TimeContrastNet)
    # No leak to look for: the videos are those that this very fold has tested.
    load_weights(folder / FILE, network, tested=[])
    return network.eval()


def _moments(rows: pd.DataFrame, expressions: pd.DataFrame) -> dict[int, str]:
    """Positions of the frames to look at, in their order, and a caption each.

    The apex of each expression, or the scored frame that is nearest; where it is not known, the expression's
    highest score; in a video without expressions the highest of all. Positions are those in ``rows``.
    """
    number, score = rows["frame"].to_numpy(), rows["score"].to_numpy()
    found: dict[int, str] = {}

    def add(place: int, what: str) -> None:
        # Of several expressions at one frame, each is named.
        names = [*([found[place].rpartition("\n")[0]] if place in found else []), what]
        found[place] = f"{', '.join(names)}\nframe {number[place]}"

    for row in expressions.itertuples(index=False):
        if pd.isna(row.apex):
            held = (number >= row.onset) & (number <= row.offset)
            add(int(np.where(held, score, -np.inf).argmax()), f"{row.label}, highest")
        else:
            add(int(np.abs(number - int(row.apex)).argmin()), f"{row.label}, apex")
    if expressions.empty:
        add(int(score.argmax()), "highest score")
    return dict(sorted(found.items()))


@torch.inference_mode()
def _draw_contrasts(
    network: TimeContrastNet,
    cfg: DictConfig,
    source: Source,
    rows: pd.DataFrame,
    true: pd.DataFrame,
    title: str,
) -> Figure:
    """At each moment, the frame as it was encoded, and the three maps of it and the next frame.

    The last frame of a video is its own next one, as where it is scored.
    """
    encoding = make_encoding(cfg)
    assert encoding is not None  # of images that are encoded already, no frame is scored
    moments = _moments(rows, true)
    number = rows["frame"].to_numpy()
    first = np.array(list(moments))
    second = np.minimum(first + 1, len(number) - 1)
    read = number[np.stack([first, second], axis=1)].ravel().tolist()
    clip = read_clip(source.path, read, grey=False, face=source.face)
    pairs = encoding(clip.unflatten(0, (-1, 2)), torch.full((len(first),), 2)).float()
    maps = network.contrast_maps(pairs)[:, 0].abs().mean(2)
    frames = pairs[:, 0, :3].round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return contrast_figure(
        dict(zip(CONTRASTS, maps.unbind(1), strict=True)),
        list(moments.values()),
        title,
        frames=list(frames),
    )
