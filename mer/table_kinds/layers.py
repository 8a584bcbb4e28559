"""Kind ``layers``: a network's layers, each counted from the module, beside what the paper prints of it.

Example::

    kind: layers
    title: "LEARNet, table VII: layers"
    paper: {name: LEARNet, table: VII, caption: LEARNet Detailed Configuration}
    network: learnet
    input: [3, 112, 112]
    classes: 5
    rows:
      - {label: Conv-1, modules: [conv1], paper: {kernel: 3 3, output: 56x56x16, parameters: 432+16}}
      - {label: Add-1, paper: {output: 28x28x16}}
      - {label: Conv-3, modules: [conv3], paper: {parameters: 4 (4608+32)}, notes: [lanes]}
    footnotes:
      lanes: Four lanes of one convolution each.

Which network: ``variant`` or ``network``, ``options``, ``input``, ``data`` or ``classes``, see
``_networks.py``. ``rows`` (may be left out) are the printed ones, in the paper's order:
``label``; ``modules``, names in the network, where ``conv3`` takes ``conv3.0`` and all others below it;
``paper``, of the columns type, output (height x width x channels), kernel, stride, padding, filters and
parameters (a number, ``432+16`` or ``4 (256+16)``); ``notes``, keys of ``footnotes``. ``total: {parameters:
1.4 M}`` is the printed sum; without it, the printed rows are added up.

A layer without a row gets one under its own name, in the order of the forward pass, if it has parameters or
changes the shape. So nothing that counts is left out, and the total is the network's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mer.errors import MerError
from mer.table_formats import Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_kinds._networks import FIELDS, find_network

COLUMNS = ("type", "output", "kernel", "stride", "padding", "filters", "parameters")


@dataclass
class Layer:
    """One module of a network.

    Attributes:
        name: in the network.
        module: itself.
        parameters: numbers of each of its tensors; those that an earlier layer shares are left out.
        outputs: shapes without the batch, of each call.
        reshapes: whether an output has another shape than its input.
    """

    name: str
    module: nn.Module
    parameters: list[int]
    outputs: list[tuple[int, ...]] = field(default_factory=list)
    reshapes: bool = False


def layers_of(network: nn.Module, images: Tensor) -> list[Layer]:
    """The layers of a network in the order of their first call; those never called come last.

    A layer is a module without children, or one that holds parameters itself.

    Args:
        network: any module.
        images: (1, C, H, W), on the network's device; ``meta`` will do.
    """
    seen: set[int] = set()
    found: dict[nn.Module, Layer] = {}
    for name, module in network.named_modules():
        own = [each for each in module.parameters(recurse=False) if id(each) not in seen]
        seen |= {id(each) for each in own}
        if own or not list(module.children()):
            found[module] = Layer(name or type(module).__name__, module, [each.numel() for each in own])
    order: list[Layer] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        layer = found[module]
        if not layer.outputs:
            order.append(layer)
        layer.outputs.append(tuple(output.shape[1:]))
        layer.reshapes |= output.shape != inputs[0].shape

    hooks = [module.register_forward_hook(note) for module in found]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    called = {id(layer) for layer in order}
    return [*order, *(layer for layer in found.values() if id(layer) not in called)]


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of a network's layers.

    Raises:
        MerError: what is wrong with the file, naming the key.
    """
    schema.read_overrides(overrides, [])
    optional = {**schema.TOP_OPTIONAL, **FIELDS, "rows": list, "total": dict}
    top = schema.checked(path, "", request, schema.TOP, optional)
    spec = find_network(path, "the table", top)
    network, images = spec.build()
    layers = layers_of(network, images)
    notes = schema.Notes(path, top.get("footnotes", {}))
    rows = [_Row.read(path, number, row, layers) for number, row in enumerate(top.get("rows", []), start=1)]
    taken = [id(layer) for row in rows for layer in row.layers]
    if twice := [layer.name for layer in layers if taken.count(id(layer)) > 1]:
        raise MerError(f"{path}: rows: {twice[0]} stands in two of them")
    lines: list[list[str]] = []
    grid = Grid(["layer", "line", *COLUMNS], lines, left=3)
    left = [layer for layer in layers if id(layer) not in taken and (layer.parameters or layer.reshapes)]
    firsts = [min((layers.index(layer) for layer in row.layers), default=None) for row in rows]
    for number, (row, first) in enumerate(zip(rows, firsts, strict=True)):
        # What the paper does not print comes where the forward pass has it: right after what it does print.
        while left and first is not None and layers.index(left[0]) < first:
            lines += _unprinted(left.pop(0))
        lines += row.lines(notes)
        following = next((each for each in firsts[number + 1 :] if each is not None), len(layers))
        while left and first is not None and layers.index(left[0]) < following:
            lines += _unprinted(left.pop(0))
    for layer in left:
        lines += _unprinted(layer)
    total = sum(sum(layer.parameters) for layer in layers)
    printed = schema.read_printed(path, "total", top.get("total"), ["parameters"])
    values = [row.paper["parameters"].value for row in rows if "parameters" in row.paper]
    added = [value for value in values if value is not None]
    if added and not printed:
        printed = {"parameters": schema.Printed(f"{sum(added):.0f}", sum(added))}
    lines += schema.block(
        "total",
        COLUMNS,
        paper=printed,
        ours={"parameters": str(total)},
        differences={"parameters": schema.difference(total, printed.get("parameters"))},
    )
    how = [
        f"Ours is read from the modules of {type(network).__name__} in one forward pass of an image of "
        f"{spec.height}x{spec.width}x{spec.channels}, with {spec.classes} classes. "
        "Outputs are height x width x channels.",
        "A layer without a line of the paper is not printed there; activations and dropout are not shown.",
        "The difference is ours - the paper's.",
    ]
    if added and "total" not in top:
        how.append("The paper's total is the sum of its rows.")
    return Sheet(
        title=schema.line(top["title"]),
        caption=schema.caption(path, top),
        grid=grid,
        footnotes=notes.listed(),
        how=how,
        command=schema.command(path),
        flat=schema.flat(grid),
    )


@dataclass(frozen=True)
class _Row:
    where: str
    label: str
    layers: list[Layer]
    paper: dict[str, schema.Printed]
    notes: list[str]

    @staticmethod
    def read(path: Path, number: int, value: Any, layers: Sequence[Layer]) -> "_Row":
        where = schema.place(number, value)
        optional = {"modules": list, "paper": dict, "notes": list}
        fields = schema.checked(path, where, value, {"label": str}, optional)
        chosen = []
        for name in fields.get("modules", []):
            below = [each for each in layers if each.name == name or each.name.startswith(f"{name}.")]
            if not below:
                names = ", ".join(layer.name for layer in layers)
                raise MerError(f"{path}: {where}.modules: no layer {name}; there are {names}")
            chosen += below
        paper = schema.read_printed(path, f"{where}.paper", fields.get("paper"), COLUMNS)
        return _Row(where, fields["label"], chosen, paper, fields.get("notes", []))

    def lines(self, notes: schema.Notes) -> list[list[str]]:
        ours = _cells(self.layers) if self.layers else None
        count = sum(sum(layer.parameters) for layer in self.layers)
        printed = self.paper.get("parameters")
        different = schema.difference(count, printed) if self.layers else ""
        return schema.block(
            notes.label(self.where, self.label, self.notes),
            COLUMNS,
            paper=self.paper,
            ours=ours,
            # A column of zeros would hide the one that is not.
            differences={} if different == "0" else {"parameters": different},
        )


def _unprinted(layer: Layer) -> list[list[str]]:
    return schema.block(layer.name, COLUMNS, paper={}, ours=_cells([layer]), differences={})


def _cells(layers: Sequence[Layer]) -> dict[str, str]:
    """The cells of some layers that stand in one row, such as the lanes of a network."""
    each = [_describe(layer) for layer in layers]
    cells = {
        column: ", ".join(dict.fromkeys(filter(None, (one[column] for one in each)))) for column in COLUMNS
    }
    alike = len({(one["type"], one["parameters"]) for one in each}) == 1
    if len(each) > 1 and alike:
        cells["type"] = f"{len(each)} {cells['type']}"
        if "+" in cells["parameters"]:
            cells["parameters"] = f"({cells['parameters']})"
        cells["parameters"] = cells["parameters"] and f"{len(each)} {cells['parameters']}"
    elif len(each) > 1:
        cells["parameters"] = "+".join(filter(None, (one["parameters"] for one in each)))
    return cells


def _describe(layer: Layer) -> dict[str, str]:
    module = layer.module
    filters = getattr(module, "out_channels", getattr(module, "out_features", ""))
    padding = "keras" if getattr(module, "pads_as_keras", False) else _sides(module, "padding")
    return {
        "type": type(module).__name__,
        "output": ", ".join(dict.fromkeys(_shape(shape) for shape in layer.outputs)) or "not called",
        "kernel": _sides(module, "kernel_size", square=True),
        "stride": _sides(module, "stride"),
        "padding": padding,
        "filters": str(filters),
        "parameters": "+".join(map(str, layer.parameters)),
    }


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, (*shape[1:], shape[0])))


def _sides(module: nn.Module, name: str, *, square: bool = False) -> str:
    """A module's size along both axes; as one number where they are the same, unless ``square``."""
    value = getattr(module, name, "")
    if isinstance(value, int):
        value = (value, value)
    if not isinstance(value, tuple):
        return str(value)
    return "x".join(map(str, value if square or len(set(value)) > 1 else value[:1]))
