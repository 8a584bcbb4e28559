"""The network of a figure and the clips it is shown: of a config with random weights, or as a run left it."""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mer import checkpoint, config, runs
from mer.data.encoded import encode
from mer.errors import MerError
from mer.prepare import device, make_encoding, read_table, ready_clips, scores_videos
from mer.table_formats import SYNTHETIC_TITLE


@dataclass(frozen=True)
class Source:
    """Where a network comes from.

    Attributes:
        cfg: its config.
        run: the folder of the run that trained it; None for random initial weights.
    """

    cfg: DictConfig
    run: Path | None = None

    def __str__(self) -> str:
        if self.run is None:
            return f"random initial weights, seed {self.cfg.seed}"
        made_by = "/".join(self.run.absolute().parts[-5:])  # no path of the machine
        return f"weights of {made_by}, each clip by the fold that tested it"


class Shown(NamedTuple):
    """Clips that a figure shows.

    Attributes:
        clips: a row each: database, subject, clip, label.
        classes: of the label map.
        images: (N, C, H, W) float32, as they were encoded.
        synthetic: whether they are drawn faces.
    """

    clips: pd.DataFrame
    classes: list[str]
    images: Tensor
    synthetic: bool


def read_source(overrides: Sequence[str], run: Path | None) -> Source:
    """The config under overrides of ``mer train``; with a run, its own, where overrides say only what decides
    no result, such as ``data.root``.

    Raises:
        MerError: a wrong override; no run there, or one whose record holds no config.
    """
    if run is None:
        return Source(config.compose(overrides))
    plan = runs.read_plan(run)
    done = [fold for fold in plan.folds if runs.state(run, fold) == "done"]
    if not done:
        raise MerError(f"{run}: no fold is finished yet")
    cfg = OmegaConf.create(runs.read_record(run, done[0]).get("config"))
    if not isinstance(cfg, DictConfig) or "data" not in cfg:
        raise MerError(f"{run}: the record of fold {done[0]} holds no config of its data")
    for override in overrides:
        key, separator, _ = override.partition("=")
        if not separator or key not in runs.NEUTRAL_KEYS:
            raise MerError(
                f"{override}: with --run the run's own config decides; what else can be given: "
                f"{', '.join(sorted(runs.NEUTRAL_KEYS))}"
            )
    merged = OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(merged, DictConfig)
    return Source(merged, run)


def choose(source: Source, names: Sequence[str]) -> pd.DataFrame:
    """The clips that were asked for, as rows database, subject, clip, label; else the first of each class.

    Of a run only clips that a finished fold has tested, with the fold's name in the column ``fold``.

    Args:
        source: of the first network that is shown.
        names: ``<subject>/<clip>`` or ``<database>/<subject>/<clip>``.

    Raises:
        MerError: no such clip, naming those that are nearest.
    """
    if scores_videos(source.cfg):
        raise MerError("task=spotting scores videos; a figure of a network shows clips: task=classification")
    table = read_table(source.cfg)
    clips, there = table.mapped, table.source
    if source.run is not None:
        tested = _tested(source.run)
        clips, there = clips.merge(tested, on=runs.KEY), str(source.run)
        if clips.empty:
            raise MerError(f"{table.source}: holds none of the clips that {source.run} has tested")
    if not names:
        first = clips.drop_duplicates("label").set_index("label", drop=False)
        return first.loc[[name for name in table.classes if name in first.index]].reset_index(drop=True)
    whole = clips[runs.KEY].agg("/".join, axis=1)
    short = clips[runs.KEY[1:]].agg("/".join, axis=1)
    rows: list[int] = []
    for name in names:
        found = clips.index[(whole == name) | (short == name)].tolist()
        if not found:
            known = short.tolist()
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or known[:5]
            raise MerError(f"{there}: no clip {name}; near it are {', '.join(near)}")
        rows += found
    return clips.loc[list(dict.fromkeys(rows))].reset_index(drop=True)


def show(source: Source, chosen: pd.DataFrame) -> Shown:
    """The chosen clips as this source's config encodes them.

    Raises:
        MerError: they are not in its data, no face is found in one, or its encoding gives no image.
    """
    table = read_table(source.cfg)
    encoding = make_encoding(source.cfg)
    if encoding is not None and encoding.gives != "image":
        raise MerError(
            f"encoding={type(encoding).__name__}: it gives sequences; a figure of a network shows one image "
            "a clip, such as encoding=apex_flow"
        )
    clips = chosen[runs.KEY].merge(table.mapped, on=runs.KEY)
    if len(clips) < len(chosen):
        gone = chosen.merge(clips[runs.KEY], on=runs.KEY, how="left", indicator=True)
        row = gone[gone["_merge"] == "left_only"].iloc[0]
        raise MerError(f"{table.source}: no clip {row['subject']}/{row['clip']}, which another panel shows")
    ready = ready_clips(source.cfg, dataclasses.replace(table, mapped=clips), encoding)
    if ready.findings:
        finding = ready.findings[0]
        raise MerError(
            f"{finding.clip}: {finding.problem}; choose another clip with --clip, or {finding.action}"
        )
    encoded = encode(ready.clips, encoding, faces=ready.faces, device=device(source.cfg), progress=False)
    if encoded.images.shape[-1] == 1:
        raise MerError(f"encoding={type(encoding).__name__}: it gives a descriptor, which is no picture")
    return Shown(ready.clips, table.classes, encoded.images.float(), table.synthetic)


def networks(source: Source, shown: Shown) -> list[nn.Module]:
    """The network of each clip, in eval mode: one for all, or of a run that of the fold that tested it.

    Raises:
        MerError: it is no network of layers; a clip was tested by no finished fold; or no weights were kept.
    """
    options = config.resolved(source.cfg)["network"]
    if "weights" in options:
        options = options | {"weights": None}  # those of a run replace them; a figure downloads nothing
    made = config.factory(options, object, "network")
    kind: Any = made.func
    if not issubclass(kind, nn.Module):
        raise MerError(f"network._target_={options['_target_']}: it is no network of layers")

    def build() -> nn.Module:
        pl.seed_everything(int(source.cfg.seed), verbose=False)
        channels = shown.images.shape[1]
        network = config.call(made, "network", in_channels=channels, num_classes=len(shown.classes))
        assert isinstance(network, nn.Module)
        return network.eval()

    if source.run is None:
        return [build()] * len(shown.clips)
    folds = shown.clips[runs.KEY].merge(_tested(source.run), on=runs.KEY, how="left")
    if folds["fold"].isna().any():
        row = folds[folds["fold"].isna()].iloc[0]
        raise MerError(f"{source.run}: no finished fold tested the clip {row['subject']}/{row['clip']}")
    trained: dict[str, nn.Module] = {}
    for fold in folds["fold"]:
        if fold not in trained:
            trained[fold] = build()
            load_fold(runs.fold_folder(source.run, fold), trained[fold])
    return [trained[fold] for fold in folds["fold"]]


def load_fold(folder: Path, network: nn.Module) -> None:
    """Load what a fold's folder keeps of its network.

    Raises:
        MerError: nothing was kept, or it is another network's.
    """
    # No leak to look for: the clips are those that this very fold has tested.
    checkpoint.start_from(checkpoint.find(folder)[0], network, tested=[])


def heading(shown: Shown, source: Source, what: str) -> str:
    """The title of a figure: what it shows, of which data."""
    mark = SYNTHETIC_TITLE if shown.synthetic else ""
    return f"{mark}{what}; data: {source.cfg.data.name}"


def commit() -> str:
    """Of the code that draws."""
    found = config.provenance()
    return f"commit {found['commit'][:10]}{', with changes' if found['dirty'] else ''}"


def names(shown: Shown) -> list[str]:
    """Label and name of each clip, on two lines."""
    return [f"{row['label']}\n{row['subject']}/\n{row['clip']}" for _, row in shown.clips.iterrows()]


def folder(source: Source) -> Path:
    """Where figures go: <run folder>/figures, or <runs_dir>/figures."""
    return (source.run if source.run is not None else Path(source.cfg.runs_dir)) / "figures"


def _tested(run: Path) -> pd.DataFrame:
    return runs.read_predictions(run, partial=True)[[*runs.KEY, "fold"]].drop_duplicates()
