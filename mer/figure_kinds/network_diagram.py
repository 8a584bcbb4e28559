"""``mer figures diagram``: a network drawn from the module itself."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Line
from torch import Tensor, nn

from mer import config
from mer.errors import MerError
from mer.figure_kinds.box_text import MERGES, colour, describe, detail, shape_text
from mer.figure_kinds.call_graph import Call, call_graph
from mer.figure_kinds.diagram_layout import GAP_Y, STRIP_GAP, WIDTH, Layout, Stack, height, is_slim, lay_out
from mer.networks.imagenet import ImageNetNetwork
from mer.networks.time_contrast import TimeContrastNet
from mer.plots import DPI, save_figure
from mer.prepare import make_encoding

MARGIN = 28  # pixels
EDGE = "#6b7280"
STEPS = 2  # frames of a sequence: one step of a network that compares neighbours


def draw(arguments: Sequence[str]) -> list[Path]:
    """Draw the network of ``<network> [overrides]`` as PNG and as SVG; returns both paths.

    Raises:
        MerError: no such network, or one that is no module; a wrong override.
    """
    if not arguments:
        raise MerError(f"mer figures diagram: name a network: {', '.join(config.names('network'))}")
    first, *overrides = arguments
    overrides = [first if "=" in first else f"network={first}", *overrides]
    cfg = config.compose(overrides)
    plain = config.resolved(cfg)["network"]
    network, images = build(plain, make_encoding(cfg), classes=len(cfg.data.classes or "ab"))
    figure = diagram(network, images, f"{type(network).__name__}\n{_kept(plain)}")
    chosen = [each for each in overrides if each.startswith(("network", "variant", "experiment"))]
    named = re.sub(r"[^\w.+-]+", "-", "-".join(each.removeprefix("network=") for each in chosen)).strip("-")
    stem = Path(cfg.runs_dir) / "figures" / f"diagram-{named}"
    paths = [stem.with_name(f"{stem.name}{ending}") for ending in (".png", ".svg")]
    for path in paths:
        save_figure(figure, path)
    return paths


def build(
    options: dict[str, object], encoding: nn.Module | None, *, classes: int
) -> tuple[nn.Module, Tensor]:
    """A network without values (``meta``), in eval mode, and the images that it takes.

    Their side is ``network.size``, else that of the papers for an ImageNet network, else the encoding's.
    Channels are the encoding's, 3 where there is none.

    Args:
        options: ``network`` of a config. ImageNet weights are not read.
        encoding: of the config.
        classes: of the last layer.

    Raises:
        MerError: it is no module: an SVM, or a difference of features; or the options do not fit.
    """
    if "weights" in options:
        options = options | {"weights": None}
    made = config.factory(options, object, "network")
    kind: Any = made.func
    if not issubclass(kind, nn.Module):
        raise MerError(
            f"network._target_={options['_target_']}: it is no network of layers, there is nothing to draw"
        )
    sequence = issubclass(kind, TimeContrastNet)
    channels, side = (5, 0) if sequence else _encoded(encoding)
    with torch.device("meta"):
        network = config.call(made, "network", in_channels=channels, num_classes=classes)
        if isinstance(size := options.get("size"), int):
            side = size
        elif isinstance(network, ImageNetNetwork):
            side = network.architecture.size
        return network.eval(), torch.zeros(1, *([STEPS] if sequence else []), channels, side, side)


def diagram(network: nn.Module, images: Tensor, title: str) -> Figure:
    """The diagram of a network: a box a call of a leaf module, in rows, branches side by side.

    A tall box has weights: what it is and its parameters above, its name and what it gives below. Slim ones
    are attached to the box that they read; white with a dashed edge are functions of torch. Shapes are height
    x width x channels. A module that is called again says so in place of its parameters.

    Args:
        network: in eval mode.
        images: (1, C, H, W) or what else it takes; ``meta`` will do.
        title: above it; parameters and input are added.
    """
    calls = call_graph(network, images)
    _shorten(calls)
    layout = lay_out(calls)
    total = sum(parameter.numel() for parameter in network.parameters())
    drawn = sum(call.parameters for call in calls)
    words = [*title.splitlines(), f"{total:,} parameters"]
    if drawn != total:
        words[-1] += f", {total - drawn:,} of them in modules that this forward pass does not call"
    # Wide enough for the title's longest word, and for the boxes.
    width = max(layout.width, 460) + 2 * MARGIN
    heading = [part for line in words for part in textwrap.wrap(line, int((width - 2 * MARGIN) / 8.4))]
    top = MARGIN + 22 * len(heading) + 20
    tall = top + layout.height + MARGIN + (14 if len(layout.strips) > 1 else 0)
    figure = Figure(figsize=(round(width) / DPI, round(tall) / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(tall, 0)
    axes.set_axis_off()
    left = (width - layout.width) / 2
    for stack in layout.stacks:
        stack.x, stack.y = stack.x + left, stack.y + top
    for patch in _edges(layout, top):
        axes.add_patch(patch)
    seen: set[int] = set()
    for stack in layout.stacks:
        y = stack.y
        for call in stack.calls:
            again = call.module is not None and id(call.module) in seen
            seen |= {id(call.module)}
            for artist in _box(call, stack.x - WIDTH / 2, y):
                axes.add_patch(artist)
            for x, down, text, style in _texts(call, stack.x - WIDTH / 2, y, calls, again=again):
                axes.text(x, down, text, parse_math=False, **style)
            y += height(call)
    for number, line in enumerate(heading):
        size, weight = (11, "bold") if number == 0 else (8, "normal")
        axes.text(
            width / 2,
            MARGIN + 22 * number - 6 * (number == 0),
            line,
            ha="center",
            va="top",
            fontsize=size,
            weight=weight,
        )
    return figure


def _shorten(calls: Sequence[Call]) -> None:
    """Take away what the names of all modules begin with, as those of a network inside another do."""
    modules = [call for call in calls if call.module is not None]
    first = {call.name.split(".")[0] for call in modules}
    if len(first) == 1 and all("." in call.name for call in modules):
        for call in modules:
            call.name = call.name.partition(".")[2]


def _kept(options: dict[str, object]) -> str:
    """The options of a network in a title."""
    given = {key: value for key, value in options.items() if key != "_target_" and value is not None}
    return ", ".join(f"{key} {value}" for key, value in given.items())


def _encoded(encoding: nn.Module | None) -> tuple[int, int]:
    """Channels and side of what an encoding gives, tried on two black frames in colour."""
    if encoding is None:
        return 3, 28
    eyes = [torch.zeros(1, 2, 6, 2)] if encoding.masks_eyes else []
    with torch.inference_mode():
        image: Tensor = encoding(torch.zeros(1, 2, 3, 64, 64), torch.tensor([2]), *eyes)
    return image.shape[-3], image.shape[-1]


def _box(call: Call, x: float, y: float) -> list[Rectangle | FancyBboxPatch]:
    tall = height(call)
    if call.kind in ("input", "output", "part") or call.name in MERGES:
        rounded = f"round,pad=0,rounding_size={tall / 2}"
        return [
            FancyBboxPatch((x, y), WIDTH, tall, rounded, facecolor=colour(call), edgecolor="#4b5563", lw=0.6)
        ]
    dashed = (0, (3, 2)) if call.kind == "operation" else "solid"
    return [
        Rectangle((x, y), WIDTH, tall, facecolor=colour(call), edgecolor="#4b5563", lw=0.6, linestyle=dashed)
    ]


def _texts(
    call: Call, x: float, y: float, calls: Sequence[Call], *, again: bool
) -> list[tuple[float, float, str, dict[str, Any]]]:
    """Place, text and style of what stands in a box."""
    ink = "white" if call.kind in ("input", "output") else "#111827"
    left, right = x + 8, x + WIDTH - 8
    shape = ", ".join(dict.fromkeys(shape_text(shape) for shape in call.shapes[:1]))
    count = "again" if again and call.module is not None and _weighs(call.module) else ""
    count = f"{call.parameters:,}" if call.parameters else count
    if is_slim(call):
        middle = y + height(call) / 2 + 0.5
        ends = call.kind in ("input", "output", "part")
        changed = ends or len(call.sources) > 1 or call.shapes[:1] != calls[call.sources[0]].shapes[:1]
        much = count or (shape if changed else "")
        what = describe(call)
        style = {"fontsize": 6.3, "va": "center", "color": ink}
        return [(left, middle, what, style | {"ha": "left"}), (right, middle, much, style | {"ha": "right"})]
    upper, lower = y + 13, y + 31.5
    room = 32 - len(shape)
    name = detail(call)
    name = name if len(name) <= room else f"…{name[1 - room :]}"
    strong = {"fontsize": 7.2, "va": "center", "color": ink}
    weak = {"fontsize": 6.0, "va": "center", "color": "#374151"}
    return [
        (left, upper, describe(call), strong | {"ha": "left", "weight": "bold"}),
        (right, upper, count, strong | {"ha": "right"}),
        (left, lower, name, weak | {"ha": "left"}),
        (right, lower, shape, weak | {"ha": "right"}),
    ]


def _weighs(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _edges(layout: Layout, top: float) -> list[FancyArrowPatch]:
    """An arrow an edge; where a strip ends, one line to the top of the next."""
    strip = {row: number for number, rows in enumerate(layout.strips) for row in rows}
    patches = []
    for stack in layout.stacks:
        for number in stack.parents:
            parent = layout.stacks[number]
            if strip[parent.row] == strip[stack.row]:
                line = _curve(parent, stack)
            else:
                line = _detour(parent, stack, layout, top)
            patches.append(
                FancyArrowPatch(
                    path=line,
                    arrowstyle="-|>,head_length=3.2,head_width=1.6" if stack.calls else "-",
                    facecolor=EDGE if stack.calls else "none",
                    edgecolor=EDGE,
                    lw=0.9,
                    shrinkA=0,
                    shrinkB=0,
                    capstyle="butt",
                )
            )
    return patches


def _curve(parent: Stack, stack: Stack) -> Line:
    """From the bottom of a stack to the top of the next; straight down beside taller neighbours first."""
    start, end = parent.y + parent.height, stack.y
    turn = end - GAP_Y  # where the row of the parent ends
    half = (turn + end) / 2
    points = [(parent.x, start), (parent.x, turn), (parent.x, half), (stack.x, half), (stack.x, end)]
    codes = [Line.MOVETO, Line.LINETO, Line.CURVE4, Line.CURVE4, Line.CURVE4]
    if not stack.calls:
        # An edge that passes goes straight through its row, whose bottom the next curve begins at.
        points.append((stack.x, end))
        codes.append(Line.LINETO)
    return Line(points, codes)


def _detour(parent: Stack, stack: Stack, layout: Layout, top: float) -> Line:
    inside = [each for each in layout.stacks if each.row in _strip(layout, parent.row)]
    right = max(each.x + each.width / 2 for each in inside) + STRIP_GAP / 2
    bottom = parent.y + parent.height + 14
    above = top - 14
    points = [
        (parent.x, parent.y + parent.height),
        (parent.x, bottom),
        (right, bottom),
        (right, above),
        (stack.x, above),
        (stack.x, stack.y),
    ]
    return Line(points)


def _strip(layout: Layout, row: int) -> range:
    return next(rows for rows in layout.strips if row in rows)
