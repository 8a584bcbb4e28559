"""Kind ``complexity``: how large a network is and what a clip costs, beside what the paper prints.

Example::

    kind: complexity
    title: "AffectiveNet, table 3: complexity"
    paper: {name: AffectiveNet, table: 3, caption: Computational Complexity Analysis}
    columns: [parameters, memory, macs, time]
    rows:
      - label: VGG-16 [3]
        network: vgg16
        input: [3, 224, 224]
        classes: 1000
        paper: {parameters: 138, memory: 515, time: 17.8}
      - label: AffectiveNet-1
        network: affectivenet
        input: [3, 112, 112]
        classes: 4
        paper: {parameters: {table: 2.2, text: 2.3}, memory: 8.3, time: 8.7}
        notes: [text]
      - {label: STRCNN, not_run: not implemented, quote: true, paper: {parameters: 0.5}}
    footnotes:
      text: The text has 2.3 M.

``columns``, of: layers (convolutions and FCs on the longest way through), input (height x width x channels),
parameters (millions), memory (4 bytes a parameter), buffers (the rest of its state, such as a batch norm's
running statistics), macs and flops (of one image), time (seconds a clip). A row names its network, see
``_networks.py``, or says ``not_run`` and why. ``paper`` has printed cells, in the columns' units; a mapping
by place where the paper prints two numbers. ``quote: true`` marks what the paper took from others.

Time is measured with the override ``measure=true`` only: it depends on the machine, and a committed table
must not.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mer.errors import MerError
from mer.table_formats import Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_kinds._networks import FIELDS, Network, depth, find_network, parameter_count

MEGABYTE = 2**20
BYTES = 4  # of a float32
# Column -> header, decimals of our cells.
COLUMNS = {
    "layers": ("layers", 0),
    "input": ("input", 0),
    "parameters": ("parameters, M", 6),
    "memory": ("memory, MB", 4),
    "buffers": ("buffers, MB", 4),
    "macs": ("MACs, M", 3),
    "flops": ("FLOPs, M", 3),
    "time": ("time, s", 5),
}
_HOW = {
    "layers": "Layers: convolutions and FCs on the longest way from image to logits.",
    "memory": "Memory: 4 bytes a parameter; MB are 2^20 bytes.",
    "buffers": "Buffers: what is saved with a network beside its parameters; MB are 2^20 bytes.",
    "macs": "MACs of one image: convolutions and FCs, as torch counts them; other layers count nothing.",
    "flops": "FLOPs of one image: two a MAC.",
}
_SECONDS, _LEAST = 2.0, 11  # of measuring a network; runs


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of complexity; the override ``measure=true`` fills the column ``time``.

    Raises:
        MerError: what is wrong with the file, naming the key.
    """
    given = schema.read_overrides(overrides, ["measure"])
    measure = schema.choice(path, "measure", given.get("measure", "false"), ["true", "false"]) == "true"
    top = schema.checked(
        path, "", request, {**schema.TOP, "columns": list, "rows": list}, schema.TOP_OPTIONAL
    )
    columns = [schema.choice(path, "columns", str(name), COLUMNS) for name in top["columns"]]
    if not columns or not top["rows"] or len(set(columns)) < len(columns):
        raise MerError(f"{path}: columns and rows: some of each are needed, each column once")
    if measure and "time" not in columns:
        raise MerError(f"{path}: measure=true: the table has no column time")
    notes = schema.Notes(path, top.get("footnotes", {}))
    lines: list[list[str]] = []
    grid = Grid(["network", "line", *(COLUMNS[name][0] for name in columns)], lines, left=2)
    for number, row in enumerate(top["rows"], start=1):
        lines += _lines(path, schema.place(number, row), row, columns, notes, measure=measure)
    how = [_HOW[name] for name in columns if name in _HOW]
    if measure:
        how.append(
            "Time: the network alone, one image at a time, one thread of this machine's CPU, median; "
            "the paper's machine is another, so there is no difference."
        )
    elif "time" in columns:
        how.append("Time of ours: `measure=true` measures it on the machine at hand.")
    return Sheet(
        title=schema.line(top["title"]),
        caption=schema.caption(path, top),
        grid=grid,
        footnotes=notes.listed(),
        how=[*how, "The difference is ours - the paper's."],
        command=schema.command(path, ["measure=true"] if measure else []),
        flat=schema.flat(grid),
    )


def sizes(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The columns layers, parameters, memory, buffers, macs and flops, in their units.

    Args:
        network: in eval mode.
        images: (1, C, H, W), on the network's device; ``meta`` will do.
    """
    with FlopCounterMode(display=False) as counter:
        output = network(images)
    own = {id(parameter) for parameter in network.parameters()}
    state = network.state_dict(keep_vars=True).values()
    flops = counter.get_total_flops()
    parameters = parameter_count(network)
    return {
        "layers": depth(output),
        "parameters": parameters / 1e6,
        "memory": BYTES * parameters / MEGABYTE,
        "buffers": sum(each.nbytes for each in state if id(each) not in own) / MEGABYTE,
        "macs": flops / 2 / 1e6,
        "flops": flops / 1e6,
    }


def seconds_a_clip(spec: Network) -> float:
    """Median seconds of a forward pass of one image, on the CPU with one thread."""
    network, images = spec.build("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            network(images)  # the first pass allocates
            took: list[float] = []
            while len(took) < _LEAST or sum(took) < _SECONDS:
                start = time.perf_counter()
                network(images)
                took.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return median(took)


def _lines(
    path: Path, where: str, row: Any, columns: Sequence[str], notes: schema.Notes, *, measure: bool
) -> list[list[str]]:
    optional = {**FIELDS, "paper": dict, "notes": list, "quote": bool, "not_run": str}
    fields = schema.checked(path, where, row, {"label": str}, optional)
    paper = schema.read_printed(path, f"{where}.paper", fields.get("paper"), columns)
    quote = fields.get("quote", False)
    if "not_run" in fields:
        if strange := fields.keys() & FIELDS.keys():
            raise MerError(f"{path}: {where}: not_run and {min(strange)} exclude each other")
        reason = f"No network of ours: {schema.line(fields['not_run'])}."
        label = notes.label(where, fields["label"], fields.get("notes", []), [reason])
        return schema.block(label, columns, paper=paper, ours=None, differences={}, quote=quote)
    spec = find_network(path, where, fields)
    values = sizes(*spec.build())
    if measure:
        values["time"] = seconds_a_clip(spec)
    ours = {name: f"{value:.{COLUMNS[name][1]}f}" for name, value in values.items()}
    ours |= {"input": f"{spec.height}x{spec.width}x{spec.channels}", "time": ours.get("time", "not measured")}
    return schema.block(
        notes.label(where, fields["label"], fields.get("notes", [])),
        columns,
        paper=paper,
        ours=ours,
        differences={
            name: schema.difference(values.get(name), paper.get(name), COLUMNS[name][1])
            for name in columns
            if name not in ("input", "time")
        },
        quote=quote,
    )
