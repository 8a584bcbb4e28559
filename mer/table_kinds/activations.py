"""Kind ``activations``: activation functions, their ranges and slopes computed, beside what the paper prints.

Example::

    kind: activations
    title: "OrigiNet, table I: activation functions"
    paper: {name: OrigiNet, table: I, caption: Activation functions details sheet}
    points: [-1, 1]
    rows:
      - label: Sigmoid
        activation: sigmoid
        paper: {function: s(x), range: "[0, 1]", derivative: S(x)(1 - S(x)), slopes: "[0, 1]"}
        notes: [quarter]
    footnotes:
      quarter: The slope of a sigmoid is at most 1/4.

``activation`` is a name of :data:`mer.networks.refined_relu.ACTIVATIONS`, at the paper's alpha. ``paper`` has
the formulas ``function`` and ``derivative``, and the intervals ``range`` (of values) and ``slopes`` (of the
derivative), as texts. Ours are the infimum and supremum of the function and of its derivative by autograd,
and the values of both at each of ``points`` (may be left out).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from mer.errors import MerError
from mer.networks.refined_relu import ACTIVATIONS, SLOPE, Activation, derivative, value_range
from mer.table_formats import Grid, Sheet
from mer.table_kinds import _schema as schema

PRINTED = {"function": "f(x)", "range": "range of f", "derivative": "f'(x)", "slopes": "range of f'"}


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of activation functions.

    Raises:
        MerError: what is wrong with the file, naming the key.
    """
    schema.read_overrides(overrides, [])
    top = schema.checked(
        path, "", request, {**schema.TOP, "rows": list}, {**schema.TOP_OPTIONAL, "points": list}
    )
    if not top["rows"]:
        raise MerError(f"{path}: rows: empty")
    points = _points(path, top.get("points", []))
    notes = schema.Notes(path, top.get("footnotes", {}))
    columns = {**PRINTED, **{f"{name}({x:g})": f"{name}({x:g})" for x in points for name in ("f", "f'")}}
    lines: list[list[str]] = []
    grid = Grid(["activation", "line", *columns.values()], lines, left=2)
    for number, row in enumerate(top["rows"], start=1):
        where = schema.place(number, row)
        fields = schema.checked(
            path, where, row, {"label": str, "activation": str}, {"paper": dict, "notes": list}
        )
        name = schema.choice(path, f"{where}.activation", fields["activation"], ACTIVATIONS)
        lines += schema.block(
            notes.label(where, fields["label"], fields.get("notes", [])),
            columns,
            paper=schema.read_printed(path, f"{where}.paper", fields.get("paper"), PRINTED),
            ours=_ours(ACTIVATIONS[cast(Activation, name)](), points),
            differences={},
        )
    return Sheet(
        title=schema.line(top["title"]),
        caption=schema.caption(path, top),
        grid=grid,
        footnotes=notes.listed(),
        how=[
            f"alpha = {SLOPE}. Ours are the infimum and the supremum of f and of its derivative by autograd, "
            "found numerically on [-2^30, 2^30]; where a function still grows there, infinity.",
        ],
        command=schema.command(path),
        flat=schema.flat(grid),
    )


def _points(path: Path, given: list[Any]) -> list[float]:
    try:
        return [float(each) for each in given]
    except (TypeError, ValueError) as error:
        raise MerError(f"{path}: points: numbers are needed, not {given}") from error


def _ours(function: Callable[[Tensor], Tensor], points: Sequence[float]) -> dict[str, str]:
    slope = derivative(function)
    cells = {"range": _interval(function), "slopes": _interval(slope)}
    for x in points:
        at = torch.tensor([x], dtype=torch.float64)
        cells |= {f"f({x:g})": f"{function(at).item():.6f}", f"f'({x:g})": f"{slope(at).item():.6f}"}
    return cells


def _interval(function: Callable[[Tensor], Tensor]) -> str:
    low, high = value_range(function)
    return f"{low:.4g} .. {high:.4g}"
