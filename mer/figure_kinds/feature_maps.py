"""``mer figures affectivenet | originet | learnet``: figures of a paper, from its networks and our clips."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mer import config
from mer.errors import MerError
from mer.figure_kinds import activation_curves, trained
from mer.figure_kinds.paper_figures import ACTIVATIONS_FIGURE, FIGURES, PaperFigure
from mer.figure_kinds.responses import image_picture, map_picture
from mer.figure_kinds.trained import Shown, Source
from mer.plots import picture_grid, save_figure

DATA_KEYS = ("data", "faces", "apex", "device", "strict", "runs_dir")  # of a run, for panels that have none
SCALED = "Each map is scaled from its own least value, black, to its greatest, light."
PAPERS = {"affectivenet": "AffectiveNet", "originet": "OrigiNet", "learnet": "LEARNet"}


def draw(paper: str, arguments: Sequence[str]) -> list[Path]:
    """Draw figures of a paper; returns their paths.

    Args:
        paper: a key of `FIGURES`.
        arguments: ``[--figure N]... [--run FOLDER]... [--clip NAME]... [overrides]``.

    Raises:
        MerError: no such figure or clip; a run that fits no panel; data that hold no frames.
    """
    parser = argparse.ArgumentParser(
        prog=f"mer figures {paper}", description=f"Draw figures of {PAPERS[paper]}."
    )
    parser.add_argument("--figure", type=int, action="append", default=[], help="its number; all by default")
    parser.add_argument(
        "--run", type=Path, action="append", default=[], help="a run folder with saved weights"
    )
    parser.add_argument(
        "--clip", action="append", default=[], help="<subject>/<clip>; one a class by default"
    )
    parser.add_argument("overrides", nargs="*", help="of mer train")
    options = parser.parse_intermixed_args(list(arguments))
    there = sorted({*FIGURES[paper], *([ACTIVATIONS_FIGURE] if paper == "originet" else [])})
    if unknown := [number for number in options.figure if number not in there]:
        raise MerError(f"{paper} has no figure {unknown[0]} to draw; there are {', '.join(map(str, there))}")
    paths = []
    numbers = list(dict.fromkeys(options.figure or there))
    for at, number in enumerate(numbers, start=1):
        print(f"figure {number} ({at}/{len(numbers)})", file=sys.stderr)  # a while, of large networks
        if number not in FIGURES[paper]:
            paths.append(_draw_curves(options.overrides, options.run))
            continue
        figure = FIGURES[paper][number]
        try:
            panels = find_panels(paper, number, figure, options.overrides, options.run)
        except MerError as error:
            if options.figure or not options.run:
                raise
            print(f"figure {number} left out: {error}", file=sys.stderr)
            continue
        paths.append(_draw_maps(paper, number, figure, panels, options.clip))
    return paths


def find_panels(
    paper: str, number: int, figure: PaperFigure, overrides: Sequence[str], run_folders: Sequence[Path]
) -> dict[str, Source]:
    """Where the network of each panel comes from: of a run whose network it is, else of its variant's config.

    Raises:
        MerError: a run that fits no panel or one that another run has; overrides that the figure itself sets.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if key == "experiment" or (key == "variant" and len(figure.panels) > 1):
            raise MerError(f"{override}: figure {number} of {paper} sets it itself")
    found_runs = [trained.read_source(overrides, run) for run in run_folders]
    panels: dict[str, Source] = {}
    for name, variant in figure.panels.items():
        chosen = [f"experiment={paper}", *([f"variant={paper}/{variant}"] if variant else [])]
        cfg = config.compose([*chosen, *([] if found_runs else overrides)])
        if found_runs:
            plain = config.resolved(cfg) | {key: config.resolved(found_runs[0].cfg)[key] for key in DATA_KEYS}
            made = OmegaConf.create(plain)
            assert isinstance(made, DictConfig)
            cfg = made
        panels[name] = Source(cfg)
    wanted = {name: _network(source.cfg) for name, source in panels.items()}
    for source in found_runs:
        network = _network(source.cfg)
        fits = [name for name, other in wanted.items() if other == network]
        if not fits and len(panels) == 1:  # any variant of the paper's own network
            fits = [name for name, other in wanted.items() if other["_target_"] == network["_target_"]]
        if not fits:
            raise MerError(
                f"{source.run}: its network fits no panel of figure {number} of {paper}; "
                f"there are {', '.join(panels)}"
            )
        if panels[fits[0]].run is not None:
            raise MerError(f"{source.run}: {panels[fits[0]].run} has the same network; give one of them")
        panels[fits[0]] = source
    return panels


def _network(cfg: DictConfig) -> dict[str, object]:
    """The network of a config, without the weights that it starts from."""
    return {key: value for key, value in config.resolved(cfg)["network"].items() if key != "weights"}


def _draw_maps(
    paper: str, number: int, figure: PaperFigure, panels: Mapping[str, Source], names: Sequence[str]
) -> Path:
    own = list(panels)[-1]
    # Clips of a run are chosen among those that it has tested.
    first = next((source for source in panels.values() if source.run is not None), panels[own])
    chosen = trained.choose(first, names)
    if "frames" not in chosen.columns:
        raise MerError(
            f"data={first.cfg.data.name}: these clips are encoded images already; "
            f"{PAPERS[paper]} encodes frames"
        )
    shown = {name: trained.show(source, chosen) for name, source in panels.items()}
    blocks, columns = maps_of(figure, panels, shown)
    title = trained.heading(shown[own], first, f"{PAPERS[paper]}, figure {number}: {figure.caption}")
    notes = [*_weights(panels), f"{figure.reading} {SCALED}", trained.commit()]
    pictures = {
        block: {
            name: [image_picture(image), *(map_picture(values) for values in maps)]
            for name, (image, maps) in rows.items()
        }
        for block, rows in blocks.items()
    }
    path = trained.folder(first) / f"{paper}-figure{number}-{first.cfg.data.name}.png"
    save_figure(picture_grid(pictures, ["encoded clip", *columns], title, notes), path)
    return path


def maps_of(
    figure: PaperFigure, panels: Mapping[str, Source], shown: Mapping[str, Shown]
) -> tuple[dict[str, dict[str, tuple[Tensor, list[Tensor]]]], list[str]]:
    """What a figure shows: block of a clip -> row -> its image (C, H, W) and its maps (h, w); columns' names.

    Panels that stand side by side show the image as the last, the paper's own network, reads it.
    """
    own = list(panels)[-1]
    names = trained.names(shown[own])
    blocks: dict[str, dict[str, tuple[Tensor, list[Tensor]]]] = {name: {} for name in names}
    columns: list[str] = []
    for panel, source in panels.items():
        # One panel's networks at a time: VGG-19's are half a gigabyte.
        for number, network in enumerate(trained.networks(source, shown[panel])):
            rows = blocks[names[number]]
            for name, maps in figure.maps(network, shown[panel].images[number]).items():
                words = [f"{panel}, {column}" for column in maps] if figure.beside else list(maps)
                columns += [word for word in words if word not in columns]
                row = name if figure.beside or len(panels) == 1 else f"{panel} {name}".strip()
                image = shown[own if figure.beside else panel].images[number]
                rows[row] = (image, [*rows.get(row, (image, []))[1], *maps.values()])
    return blocks, columns


def _weights(panels: Mapping[str, Source]) -> list[str]:
    """Whose weights these are: one line where all are alike."""
    words = {name: str(source) for name, source in panels.items()}
    if len(set(words.values())) == 1:
        return [f"Of {', '.join(words)}: {next(iter(words.values()))}."]
    return [f"{name}: {text}." for name, text in words.items()]


def _draw_curves(overrides: Sequence[str], run_folders: Sequence[Path]) -> Path:
    source = trained.read_source(overrides, run_folders[0] if run_folders else None)
    what = "the non-linear activations and their derivatives"
    title = f"OrigiNet, figure {ACTIVATIONS_FIGURE}: {what}; {trained.commit()}"
    path = trained.folder(source) / f"originet-figure{ACTIVATIONS_FIGURE}.png"
    save_figure(activation_curves.draw(title), path)
    return path
