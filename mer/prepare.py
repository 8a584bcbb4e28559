"""The data of a composed config: clip table, splits, faces, encoded images. Whatever is wrong ends here."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig
from torch import nn

from mer import config
from mer.data import clips as clip_table
from mer.data import splits as protocols
from mer.data.controls import apply_control
from mer.data.duplicates import check_duplicates, duplicate_findings, find_duplicates
from mer.data.encoded import EncodedSet, encode
from mer.data.faces import FaceOptions
from mer.data.findings import Finding, as_reading, check_strict, summary
from mer.data.label_sets import apply_labels, check_labels
from mer.data.preparation import Ready, make_ready
from mer.data.roots import find_root
from mer.data.sequences import NONE, VideoLabels
from mer.data.standins import is_standin
from mer.data.videos import Videos, find_videos, video_frames
from mer.encodings import ApexFlow
from mer.errors import MerError
from mer.tasks.spotting import Spotting


@dataclass(frozen=True)
class Table:
    """A database as it was read.

    Attributes:
        clips: the clip table with the labels of its annotation.
        mapped: the clips that the label map keeps, labelled by class, under the control.
        classes: in the order of their index.
        findings: of the reader.
        mismatch: how the counts differ from the published ones, empty where they agree; None where
            nothing is published.
        synthetic: whether these are drawn faces.
        still: videos that hold no expression, or None where the reader knows none.
        source: root, or the database's name where there is none.
    """

    clips: pd.DataFrame
    mapped: pd.DataFrame
    classes: list[str]
    findings: list[Finding]
    mismatch: str | None
    synthetic: bool
    source: str
    still: pd.DataFrame | None = None


@dataclass(frozen=True)
class Prepared:
    """The data of a run, before any fold is trained; with ``labels``, the clips are videos."""

    clips: pd.DataFrame
    classes: list[str]
    splits: list[protocols.Split]
    encoded: EncodedSet
    synthetic: bool
    labels: VideoLabels | None = None


def prepare(cfg: DictConfig) -> Prepared:
    """Read, check, split and encode: everything that is common to the folds of a run.

    Raises:
        MerError: whatever is wrong with the data, before any training.
    """
    table = read_table(cfg)
    encoding = make_encoding(cfg)
    ready = ready_clips(cfg, table, encoding)
    pairs = find_duplicates(ready.clips)
    findings = [*table.findings, *ready.findings, *duplicate_findings(ready.clips, pairs)]
    if cfg.strict:
        check_strict(findings, cfg.data.name)
    tell(cfg, table, findings)
    splits = make_splits(cfg, ready.clips)
    if not may_duplicate(cfg):
        check_duplicates(ready.clips, splits, pairs)
    encoded = encode(ready.clips, encoding, faces=ready.faces, device=device(cfg))
    labels = None if ready.videos is None else _video_labels(table, ready.videos, ready.clips)
    return Prepared(ready.clips, table.classes, splits, encoded, table.synthetic, labels)


def read_table(cfg: DictConfig) -> Table:
    """The clip table of a config.

    Raises:
        MerError: as the reader says; a label set that does not exist.
    """
    read, options = config.function(cfg.data.clips, "data.clips")
    if "labels" in cfg.data:
        check_labels(cfg.data.name, cfg.data.labels, cfg.data.get("label_sets"))
    # Data that the project makes itself has no root, and a composite has several.
    root = find_root(cfg.data.name, cfg.data.root) if "root" in cfg.data else None
    result = config.call(read, "data.clips", *([] if root is None else [root]), **options)
    clips, findings, published, still = as_reading(result)
    source = str(root or cfg.data.name)
    mapped, classes = apply_labels(clips, cfg.data.classes, cfg.data.label_map, source)
    if published is None:
        published = getattr(sys.modules[read.__module__], "PUBLISHED_COUNTS", None)
    return Table(
        clips=clips,
        mapped=apply_control(mapped, cfg.data.control),
        classes=classes,
        findings=findings,
        mismatch=clip_table.count_mismatch(clips, published) if published else None,
        synthetic=_is_synthetic(clips),
        source=source,
        still=still,
    )


def ready_clips(cfg: DictConfig, table: Table, encoding: nn.Module | None) -> Ready:
    """Faces and apexes, as the config wants them (``make_ready``); of videos where the task scores them."""
    if not scores_videos(cfg):
        return make_ready(table.mapped, encoding, faces=face_options(cfg), apex=cfg.apex)
    if cfg.data.control == "onset_only":
        raise MerError("data.control=onset_only leaves no video; use shuffled_labels, or task=classification")
    if "root" not in cfg.data and not table.synthetic:
        raise MerError(
            f"data={cfg.data.name}: its label maps leave expressions out, whose frames would count as still; "
            "spot in one database at a time"
        )
    # Of all clips: an expression whose label is in no class is one to be spotted.
    videos = find_videos(_with_apexes(cfg, table.clips), table.still)
    ready = make_ready(videos.table, encoding, faces=face_options(cfg), apex=cfg.apex)
    return ready._replace(findings=[*videos.findings, *ready.findings], videos=videos)


def _with_apexes(cfg: DictConfig, clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with apexes spotted where ``apex`` asks for it, and a face was found to spot them in."""
    wanted = clips["apex"].isna() | (cfg.apex == "spot_all")
    if cfg.apex == "labelled" or "frames" not in clips.columns or not wanted.any():
        return clips
    chosen = clips[wanted].reset_index(drop=True)
    found = make_ready(chosen, ApexFlow(), faces=face_options(cfg), apex=cfg.apex).clips
    apexes = found.set_index(clip_table.KEY)["apex"].reindex(pd.MultiIndex.from_frame(clips[clip_table.KEY]))
    return clips.assign(apex=clips["apex"].mask(wanted, pd.array(apexes.array, dtype="Int64")))


def scores_videos(cfg: DictConfig) -> bool:
    """Whether the task scores the frames of videos, and does not only classify clips."""
    found, _ = config.function(cfg.task, "task")
    return isinstance(found, type) and issubclass(found, Spotting)


def face_options(cfg: DictConfig) -> FaceOptions:
    """``faces`` of a config.

    Raises:
        MerError: an option out of range.
    """
    options: dict[str, Any] = config.resolved(cfg)["faces"]
    landmarks = options.pop("landmarks")
    folder = Path(landmarks).expanduser() if landmarks else None
    if folder is not None and not folder.is_dir():
        raise MerError(f"faces.landmarks={landmarks}: no such folder")
    return FaceOptions(**options | {"margins": tuple(options["margins"]), "landmarks": folder})


def make_encoding(cfg: DictConfig) -> nn.Module | None:
    """The encoding of a config; None for images that are already encoded."""
    if cfg.encoding is None:
        return None
    made = config.call(config.factory(cfg.encoding, nn.Module, "encoding"), "encoding")
    assert isinstance(made, nn.Module)
    return made


def device(cfg: DictConfig) -> str:
    """Where clips are encoded.

    Raises:
        MerError: a GPU that is not there.
    """
    there = torch.cuda.is_available()
    if cfg.device == "auto":
        return "cuda" if there else "cpu"
    if str(cfg.device).startswith("cuda") and not there:
        raise MerError(f"device={cfg.device}: torch sees no GPU here; use device=cpu, or auto")
    return str(cfg.device)


def make_splits(cfg: DictConfig, clips: pd.DataFrame) -> list[protocols.Split]:
    """All splits of the protocol, guarded."""
    split, options = config.function(cfg.protocol, "protocol")
    # Of a copy: a function that renames or sorts the clips in its table would deceive the guards.
    splits: list[protocols.Split] = config.call(split, "protocol", clips.copy(), **options)
    protocols.check(clips, splits)
    if split in (protocols.loso, protocols.lovo):
        protocols.check_complete(clips, splits)
    return splits


def may_duplicate(cfg: DictConfig) -> bool:
    """Whether one frame may be both trained on and tested, under two names.

    Raises:
        MerError: neither ``duplicates=error`` nor ``warn``.
    """
    if cfg.duplicates not in ("error", "warn"):
        raise MerError(f"duplicates={cfg.duplicates!r}: choose error or warn")
    return bool(cfg.duplicates == "warn")


def list_folds(overrides: Sequence[str]) -> list[str]:
    """Names of all folds under these overrides, without encoding anything."""
    cfg = config.compose(overrides)
    table = read_table(cfg)
    return [split.fold for split in make_splits(cfg, ready_clips(cfg, table, make_encoding(cfg)).clips)]


def tell(cfg: DictConfig, table: Table, findings: Sequence[Finding]) -> None:
    """Say on stderr what is not as published or as it should be; never hidden, and no error."""
    if table.mismatch and not table.synthetic:
        print(f"{table.source}: other counts than published: {table.mismatch}", file=sys.stderr)
    if findings:
        more = " task=spotting encoding=frames_and_flow" if scores_videos(cfg) else ""
        print(
            f"{table.source}: {summary(findings)}; `mer audit data={cfg.data.name}{more}` lists them",
            file=sys.stderr,
        )


def _video_labels(table: Table, videos: Videos, kept: pd.DataFrame) -> VideoLabels:
    """The annotation of the videos that are kept, under the run's label map and control."""
    row = {path: number for number, path in enumerate(kept["frames"])}
    place = videos.expressions["video"].map(videos.table["frames"].map(row))
    expressions = videos.expressions.assign(video=place)[place.notna()].astype({"video": "int64"})
    expressions = expressions.sort_values(["video", "onset"], kind="stable", ignore_index=True)
    keys = table.mapped[clip_table.KEY].itertuples(index=False, name=None)
    classes = dict(zip(keys, clip_table.targets(table.mapped, table.classes), strict=True))
    found = expressions[clip_table.KEY].itertuples(index=False, name=None)
    targets = [classes.get(key, NONE) for key in found]
    return VideoLabels(video_frames(videos._replace(table=kept)), expressions, targets)


def _is_synthetic(clips: pd.DataFrame) -> bool:
    """Whether any of the databases is drawn."""
    first = clips.drop_duplicates("database")
    places = first["frames" if "frames" in clips.columns else "image"]
    return "synthetic" in set(first["database"]) or any(is_standin(Path(place)) for place in places)
