"""Where the calls of a network stand in its diagram: in rows from top to bottom, branches side by side.

Rows are longest paths, stacks in a row are ordered by the mean place of their neighbours, and edges over
several rows go through places of their own, so that they pass beside the stacks (Sugiyama et al. 1981).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mer.figure_kinds.call_graph import Call

WIDTH, TALL, SLIM = 236, 44, 19  # pixels of a box
LANE = 26  # of an edge that passes by
GAP_X, GAP_Y = 22, 26
STRIP_GAP = 64  # between two strips
STRIP_HEIGHT = 1500  # above it, the rows go on in another strip


@dataclass
class Stack:
    """Calls of a chain as one block: a box with slim ones below, or the place where an edge passes.

    Attributes:
        calls: from top to bottom; empty where an edge passes.
        parents: of the stacks that it reads from, places passed included; in the row above.
        skips: whether an edge passes here whose origin goes on elsewhere too.
        row: 0 is the top one.
        x: of its centre, pixels.
        y: of its top, pixels down.
    """

    calls: list[Call]
    parents: list[int] = field(default_factory=list)
    row: int = 0
    skips: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> int:
        """Pixels."""
        return WIDTH if self.calls else LANE

    @property
    def height(self) -> int:
        """Pixels."""
        return sum(height(call) for call in self.calls)


@dataclass(frozen=True)
class Layout:
    """Stacks with their places, the size of the whole in pixels, and after which rows a new strip begins."""

    stacks: list[Stack]
    width: float
    height: float
    strips: list[range]


def is_slim(call: Call) -> bool:
    """Whether a call is a thin box: all that has no weights of its own, and normalisations."""
    name = type(call.module).__name__
    weighted = call.module is not None and any(True for _ in call.module.parameters())
    return not weighted or "Norm" in name


def height(call: Call) -> int:
    """Of a call's box, pixels."""
    return SLIM if is_slim(call) else TALL


def lay_out(calls: Sequence[Call]) -> Layout:
    """The places of all calls of a graph (:func:`mer.figure_kinds.call_graph.call_graph`)."""
    stacks = _stacks(calls)
    _pass_by(stacks)
    rows: list[list[int]] = [[] for _ in range(1 + max(stack.row for stack in stacks))]
    for number, stack in enumerate(stacks):
        rows[stack.row].append(number)
    _order(stacks, rows)
    _align(stacks, rows)
    return _place(stacks, rows)


def _stacks(calls: Sequence[Call]) -> list[Stack]:
    """A slim call joins the one that it reads, where it is the only one that does."""
    readers = [0] * len(calls)
    for call in calls:
        for source in call.sources:
            readers[source] += 1
    stacks: list[Stack] = []
    home: dict[int, int] = {}
    for call in calls:
        first = calls[call.sources[0]] if call.sources else None
        joins = (
            first is not None
            and call.kind in ("module", "operation")
            and is_slim(call)
            and len(call.sources) == 1
            and readers[first.number] == 1
            and first.kind in ("module", "operation")
        )
        if joins:
            home[call.number] = home[call.sources[0]]
            stacks[home[call.number]].calls.append(call)
            continue
        home[call.number] = len(stacks)
        parents = list(dict.fromkeys(home[source] for source in call.sources))
        row = 1 + max((stacks[parent].row for parent in parents), default=-1)
        stacks.append(Stack([call], parents, row))
    return stacks


def _pass_by(stacks: list[Stack]) -> None:
    """Break edges over several rows into one a row; those from one stack share their places."""
    places: dict[tuple[int, int], int] = {}
    readers = [0] * len(stacks)
    for stack in stacks:
        for parent in stack.parents:
            readers[parent] += 1
    for stack in stacks[:]:
        for which, origin in enumerate(stack.parents):
            parent = origin
            for row in range(stacks[origin].row + 1, stack.row):
                if (origin, row) not in places:
                    places[origin, row] = len(stacks)
                    stacks.append(Stack([], [parent], row, skips=readers[origin] > 1))
                parent = places[origin, row]
            stack.parents[which] = parent


def _neighbours(stacks: Sequence[Stack]) -> tuple[list[list[int]], list[list[int]]]:
    above = [list(stack.parents) for stack in stacks]
    below: list[list[int]] = [[] for _ in stacks]
    for number, stack in enumerate(stacks):
        for parent in stack.parents:
            below[parent].append(number)
    return above, below


def _order(stacks: Sequence[Stack], rows: list[list[int]]) -> None:
    """Sort rows by the mean place of their neighbours, down and up; the order with fewest crossings stays."""
    above, below = _neighbours(stacks)
    best, fewest = [list(row) for row in rows], _crossings(rows, above)
    for sweep in range(12):
        down = sweep % 2 == 0
        beside = above if down else below
        for row in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            other = {number: place for place, number in enumerate(rows[row - 1 if down else row + 1])}

            def mean(number: int, other: Mapping[int, int] = other, row: int = row) -> float:
                found = [other[each] for each in beside[number]]  # noqa: B023 - read within this sweep
                return sum(found) / len(found) if found else rows[row].index(number)

            rows[row] = sorted(rows[row], key={number: mean(number) for number in rows[row]}.__getitem__)
        if (crossed := _crossings(rows, above)) < fewest:
            best, fewest = [list(row) for row in rows], crossed
    rows[:] = best


def _crossings(rows: Sequence[Sequence[int]], above: Sequence[Sequence[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {number: k for k, number in enumerate(upper)}
        ends = np.array([(place[parent], k) for k, number in enumerate(lower) for parent in above[number]])
        if len(ends):
            start, end = ends.T
            total += int(((start[:, None] < start) & (end[:, None] > end)).sum())
    return total


def _align(stacks: Sequence[Stack], rows: Sequence[Sequence[int]]) -> None:
    """From the widest row, which is packed, downwards below the parents and upwards above the children."""
    above, below = _neighbours(stacks)
    widths = [sum(stacks[number].width + GAP_X for number in row) for row in rows]
    widest = int(np.argmax(widths))
    _put(stacks, rows[widest], [0.0] * len(rows[widest]))
    for row in rows[widest + 1 :]:
        _put(stacks, row, [_mean(stacks, above[number]) for number in row])
    for row in reversed(rows[:widest]):
        _put(stacks, row, [_mean(stacks, below[number]) for number in row])


def _put(stacks: Sequence[Stack], row: Sequence[int], wanted: Sequence[float]) -> None:
    """The places nearest to the wanted ones, in the row's order, at which nothing touches."""
    from sklearn.isotonic import isotonic_regression  # sklearn takes a second to import

    widths = np.array([stacks[number].width for number in row], dtype=np.float64)
    offsets = np.cumsum(widths) - widths / 2 + GAP_X * np.arange(len(row))
    # Nothing touches where x - offset does not fall along the row: the nearest such values, least squares.
    weights = [_weight(stacks[number]) for number in row]
    free = isotonic_regression(np.array(wanted) - offsets, sample_weight=weights)
    for number, x in zip(row, free + offsets, strict=True):
        stacks[number].x = float(x)


def _mean(stacks: Sequence[Stack], near: Sequence[int]) -> float:
    if not near:
        return 0.0
    return float(
        np.average([stacks[each].x for each in near], weights=[_weight(stacks[each]) for each in near])
    )


def _weight(stack: Stack) -> float:
    """A chain stays straight beside what skips it."""
    return 1e-3 if stack.skips else 1.0


def _place(stacks: Sequence[Stack], rows: Sequence[Sequence[int]]) -> Layout:
    """Rows from top to bottom; a tall diagram goes on in another strip, where the edges of one call cross."""
    heights = [max((stacks[number].height for number in row), default=0) for row in rows]
    whole = sum(heights) + GAP_Y * (len(rows) - 1)
    count = int(np.ceil(whole / STRIP_HEIGHT))
    above, _ = _neighbours(stacks)
    strips: list[range] = []
    start, tall = 0, 0.0
    for row, each in enumerate(heights):
        tall += each + GAP_Y
        crossing = (
            {parent for number in rows[row + 1] for parent in above[number]} if row + 1 < len(rows) else ()
        )
        alone = len(crossing) == 1 and bool(stacks[next(iter(crossing))].calls)
        if alone and len(strips) + 1 < count and tall > (len(strips) + 0.97) * whole / count:
            strips.append(range(start, row + 1))
            start = row + 1
    strips.append(range(start, len(rows)))
    left, lowest = 0.0, 0.0
    for strip in strips:
        inside = [stacks[number] for row in strip for number in rows[row]]
        least = min(stack.x - stack.width / 2 for stack in inside)
        right = max(stack.x + stack.width / 2 for stack in inside)
        y = 0.0
        for row in strip:
            for number in rows[row]:
                stacks[number].y = y
            y += heights[row] + GAP_Y
        for stack in inside:
            stack.x += left - least
        left += right - least + STRIP_GAP
        lowest = max(lowest, y - GAP_Y)
    return Layout(list(stacks), left - STRIP_GAP, lowest, strips)
