"""Complexity: counts by hand, and what the papers print."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from mer.errors import MerError
from mer.networks import GoogLeNet, LAENet, ResNet50, SqueezeNet
from mer.table_kinds import complexity
from mer.table_kinds.complexity import sizes
from tests.table_kinds.sheets import cells, example, sheet_of, write_table

TABLE = """
    kind: complexity
    title: Complexity
    columns: [layers, input, parameters, memory, buffers, macs, flops, time]
    rows:
      - label: LAENet
        variant: laenet/base
        data: megc2019_uvos
        paper: {layers: 2, input: 28 x 28 x 3, parameters: "0.000843"}
      - label: OrigiNet
        network: originet
        input: [3, 128, 128]
        classes: 8
        paper: {parameters: 1.8, memory: {table: "14.3", text: "13.4"}}
        notes: [eight]
      - {label: STRCNN, not_run: no network of it is here, quote: true, paper: {parameters: "-"}}
    footnotes:
      eight: Its own 14.3 MB is 8 bytes a parameter.
"""


def test_a_convolution_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 14 * 14, 2)
    ).eval()
    found = sizes(network, torch.zeros(1, 3, 28, 28))
    macs = (14 * 14) * 5 * (3 * 3 * 3) + 5 * 14 * 14 * 2
    parameters = 5 * 27 + 5 + 2 * 5 + 2 * 5 * 14 * 14 + 2
    assert found["macs"] == pytest.approx(macs / 1e6)
    assert found["flops"] == pytest.approx(2 * macs / 1e6)
    assert found["parameters"] == pytest.approx(parameters / 1e6)
    assert found["memory"] == pytest.approx(4 * parameters / 2**20)
    assert found["buffers"] == pytest.approx((2 * 5 * 4 + 8) / 2**20)  # mean, variance, an int64 counter
    assert found["layers"] == 2


def test_shapes_alone_give_the_same_counts() -> None:
    network = LAENet(in_channels=3, num_classes=3).eval()
    shapes = copy.deepcopy(network).to("meta")
    real = sizes(network, torch.zeros(1, 3, 28, 28))
    assert sizes(shapes, torch.zeros(1, 3, 28, 28, device="meta")) == real
    assert real["macs"] == pytest.approx((28 * 28 * 8 * 27 + 200 * 3) / 1e6)


@pytest.mark.parametrize(("network", "layers"), [(ResNet50, 50), (GoogLeNet, 22), (SqueezeNet, 18)])
def test_layers_are_the_longest_way(network: type[nn.Module], layers: int) -> None:
    with torch.device("meta"):
        made = network(in_channels=3, num_classes=1000).eval()
        assert sizes(made, torch.zeros(1, 3, 224, 224))["layers"] == layers


def test_ours_stands_beside_the_papers(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE))
    ours = cells(sheet, "LAENet")
    assert (ours["layers"], ours["input"], ours["parameters, M"]) == ("2", "28x28x3", "0.000843")
    difference = cells(sheet, "LAENet", "difference")
    assert (difference["layers"], difference["parameters, M"], difference["input"]) == ("0", "0", "")
    assert cells(sheet, "OrigiNet (a)")["parameters, M"] == "1.873384"
    assert cells(sheet, "STRCNN (b)", "paper, quoted")["parameters, M"] == "-"
    assert dict(sheet.footnotes)["b"] == "No network of ours: no network of it is here."


def test_a_cell_that_contradicts_itself_keeps_both_numbers(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE))
    assert cells(sheet, "OrigiNet (a)", "paper")["memory, MB"] == "14.3 (text: 13.4)"
    megabytes = 4 * 1_873_384 / 2**20
    assert cells(sheet, "OrigiNet (a)", "difference")["memory, MB"] == f"{megabytes - 14.3:+.4f}"
    assert dict(sheet.footnotes)["a"] == "Its own 14.3 MB is 8 bytes a parameter."
    assert f"{2 * megabytes:.1f}" == "14.3"


def test_time_is_measured_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complexity, "_SECONDS", 0.0)
    path = write_table(tmp_path, TABLE)
    assert sheet_of(path) == sheet_of(path)
    assert cells(sheet_of(path), "LAENet")["time, s"] == "not measured"
    threads = torch.get_num_threads()
    measured = sheet_of(path, ["measure=true"])
    assert float(cells(measured, "OrigiNet (a)")["time, s"]) > float(cells(measured, "LAENet")["time, s"]) > 0
    assert torch.get_num_threads() == threads
    assert measured.command.endswith(" measure=true")
    assert any("median" in line for line in measured.how)


def test_the_docstrings_example(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("complexity")))
    assert cells(sheet, "VGG-16 [3]")["parameters, M"] == "138.357544"
    assert cells(sheet, "AffectiveNet-1 (a)")["parameters, M"] == "2.271296"
    assert cells(sheet, "AffectiveNet-1 (a)", "paper")["parameters, M"] == "2.2 (text: 2.3)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("macs, flops", "macs, flop", "columns=flop: choose layers, input"),
        ("macs, flops", "macs, macs", "each column once"),
        ("variant: laenet/base", "variant: laenet/bass", "variant=laenet/bass: no such config"),
        ("data: megc2019_uvos", "data: casme3", "data=casme3: no such config"),
        ("not_run: no network", "network: laenet, not_run: no network", "not_run and network exclude"),
        ("memory: {table", "memroy: {table", r"rows\[2\] \(OrigiNet\)\.paper\.memroy: no such column"),
        ('{table: "14.3", text: "13.4"}', "{table: [1]}", r"memory: numbers by place are needed"),
        ("quote: true", "quote: yess", "quote: 'yess' does not fit, true or false is needed"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    with pytest.raises(MerError, match=message):
        sheet_of(write_table(tmp_path, TABLE.replace(old, new)))


def test_measuring_needs_its_column(tmp_path: Path) -> None:
    path = write_table(tmp_path, TABLE.replace(", flops, time]", "]"))
    with pytest.raises(MerError, match="no column time"):
        sheet_of(path, ["measure=true"])
    with pytest.raises(MerError, match="measure=maybe: choose true, false"):
        sheet_of(path, ["measure=maybe"])
