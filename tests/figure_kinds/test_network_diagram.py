"""Diagrams: nothing overlaps, all is drawn, and the numbers in them are the network's."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch import nn

from mer import config, figures
from mer.errors import MerError
from mer.figure_kinds.box_text import describe, detail, shape_text
from mer.figure_kinds.call_graph import Call, call_graph
from mer.figure_kinds.diagram_layout import STRIP_HEIGHT, lay_out
from mer.figure_kinds.network_diagram import diagram
from mer.networks import AffectiveNet
from tests.figure_kinds.test_call_graph import NETWORKS, Branches, shipped


@pytest.mark.parametrize("name", NETWORKS)
def test_stacks_do_not_touch_and_edges_go_down(name: str) -> None:
    calls = call_graph(*shipped(name))
    layout = lay_out(calls)
    drawn = [call.number for stack in layout.stacks for call in stack.calls]
    assert sorted(drawn) == list(range(len(calls)))
    places = [(s.x - s.width / 2, s.x + s.width / 2, s.y, s.y + s.height) for s in layout.stacks if s.calls]
    for (left, right, top, bottom), (left2, right2, top2, bottom2) in combinations(places, 2):
        assert left >= right2 or left2 >= right or top >= bottom2 or top2 >= bottom
    assert min(place[0] for place in places) >= 0
    assert max(place[1] for place in places) <= layout.width
    assert max(place[3] for place in places) <= layout.height < 1.5 * STRIP_HEIGHT
    strip = {row: number for number, rows in enumerate(layout.strips) for row in rows}
    for stack in layout.stacks:
        for parent in (layout.stacks[number] for number in stack.parents):
            assert parent.row == stack.row - 1
            same = strip[parent.row] == strip[stack.row]
            assert parent.y + parent.height < stack.y if same else parent.x < stack.x


def test_each_edge_is_drawn_down_to_its_source() -> None:
    calls = call_graph(Branches().eval(), torch.rand(1, 3, 5, 5))
    stacks = lay_out(calls).stacks
    home = {call.number: stack for stack in stacks for call in stack.calls}
    for stack in stacks:
        if not stack.calls:
            continue
        found = []
        for number in stack.parents:
            parent = stacks[number]
            while not parent.calls:
                (number,) = parent.parents
                parent = stacks[number]
            found.append(parent)
        wanted = {id(home[source]) for source in stack.calls[0].sources}
        assert {id(each) for each in found} == wanted
        for above, below in zip(
            stack.calls, stack.calls[1:], strict=False
        ):  # what is attached reads that above
            assert below.sources == [above.number]


def test_branches_of_the_same_shape_stand_symmetrically() -> None:
    calls = call_graph(*shipped("affectivenet"))
    at = {call.name: stack.x for stack in lay_out(calls).stacks for call in stack.calls}
    for k in range(4):
        assert at[f"streams.{k}.0"] == pytest.approx(
            (at[f"streams.{k}.2.small"] + at[f"streams.{k}.2.large"]) / 2
        )
        assert at[f"streams.{k}.2.refine"] == pytest.approx(at[f"streams.{k}.0"])
    assert at["norm"] == pytest.approx(sum(at[f"streams.{k}.0"] for k in range(4)) / 4)
    assert at["input"] == pytest.approx(at["norm"])
    assert at["feature_norm"] == pytest.approx((at["fc2"] + at["fc3"]) / 2)  # the edge of fc2 passes two rows


def test_words_in_the_boxes() -> None:
    def told(module: nn.Module) -> tuple[str, str]:
        call = Call(1, "module", "here", [0], [(8, 5, 4)], module)
        return describe(call), detail(call)

    assert told(nn.Conv2d(3, 8, 3, stride=2)) == ("conv 3x3/2, 8", "here")
    assert told(nn.Conv2d(8, 8, (1, 5), groups=8)) == ("depthwise conv 1x5/1, 8", "here")
    assert told(nn.Conv2d(8, 16, 3, groups=2, dilation=4)) == ("conv 3x3/1, 16", "here, 2 groups, dilated 4")
    assert told(nn.Linear(3, 5)) == ("FC 5", "here")
    assert told(nn.MaxPool2d(3, stride=2)) == ("max pool 3x3/2", "here")
    assert told(nn.GRU(3, 7))[0] == "GRU 7"
    assert told(nn.Dropout(0.25))[0] == "dropout 0.25"
    assert [shape_text(shape) for shape in ((3, 5, 4), (2, 3, 5, 4), (7,), (1, 7), ())] == [
        "5x4x3",
        "2 x 5x4x3",
        "7",
        "1 x 7",
        "1",
    ]


def test_the_published_count_stands_in_the_diagram() -> None:
    network = AffectiveNet(in_channels=3, num_classes=4).eval()
    figure = diagram(network, torch.zeros(1, 3, 112, 112), "AffectiveNet")
    texts = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
    assert "2,271,296 parameters" in texts  # PAPERS: recomputed, printed as 2.2 M
    assert texts.count("conv 3x3/2, 64") == 4
    assert {"conv 11x11/1, 16", "112x112x16", "concat", "28x28x256", "FC 4"} <= set(texts)


@pytest.mark.parametrize("name", ["laenet", "resnet34"])
def test_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main(["diagram", name, f"runs_dir={tmp_path}"])
    png, svg = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert (png, svg) == tuple(tmp_path / f"figures/diagram-{name}.{kind}" for kind in ("png", "svg"))
    height, width, _ = imread(png).shape
    assert 400 < width < 3000
    assert 300 < height < 2000
    assert "<svg " in svg.read_text()


def test_a_variant_has_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main(["diagram", "ststnet", "network.widths=[3,5]", f"runs_dir={tmp_path}"])
    assert "diagram-ststnet-network.widths-3-5.png" in capsys.readouterr().out


def test_errors() -> None:
    with pytest.raises(MerError, match="name a network: affectivenet, alexnet"):
        figures.main(["diagram"])
    with pytest.raises(MerError, match="network=atlantis: no such config; there are affectivenet"):
        figures.main(["diagram", "atlantis"])
    assert set(NETWORKS) < set(config.names("network"))
