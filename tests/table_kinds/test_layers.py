"""Layer tables: what the papers print of their networks is what the modules have."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mer import networks
from mer.errors import MerError
from mer.table_formats import to_csv, to_latex, to_markdown
from mer.table_kinds.layers import layers_of
from tests.table_kinds.sheets import cells, example, sheet_of, write_table

TABLE7 = """
    kind: layers
    title: LEARNet's layers
    network: learnet
    input: [3, 112, 112]
    classes: 5
    rows:
      - {label: Conv-1, modules: [conv1], paper: {output: 56x56x16, stride: 2, parameters: 432+16}}
      - {label: Conv-2, modules: [conv2], paper: {output: 28x28x16, stride: 2, parameters: 4 (256+16)}}
      - {label: Add-1, modules: [norms1], paper: {output: 28x28x16}}
      - {label: Conv-3, modules: [conv3], paper: {output: 14x14x32, stride: 2, parameters: 4 (4608+32)}}
      - {label: Add-2, modules: [norms2], paper: {output: 14x14x32}}
      - {label: Conv-4, modules: [conv4], paper: {output: 7x7x64, stride: 2, parameters: 4 (51200+64)}}
      - {label: Concat, paper: {output: 7x7x256}}
      - {label: LRN, modules: [norm], paper: {output: 7x7x256, parameters: 256+256}}
      - {label: Conv-5, modules: [conv5], paper: {output: 4x4x256, parameters: 589824+256}, notes: [unpadded]}
      - {label: FC, modules: [fc], paper: {output: 1x1x256, parameters: 589824+256}}
    footnotes:
      unpadded: The FC's 589,824 weights need 3x3 maps.
"""


def test_learnet_has_the_printed_parameters_layer_by_layer(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE7))
    assert [row[0] for row in sheet.grid.lines if row[1] == "difference"] == [""]  # of the total alone
    assert cells(sheet, "total", "paper")["parameters"] == "1405824"
    assert cells(sheet, "total")["parameters"] == str(1_405_824 + 256 * 5 + 5)
    assert cells(sheet, "total", "difference")["parameters"] == f"+{256 * 5 + 5}"
    assert cells(sheet, "Conv-3")["type"] == "4 SameConv2d"
    assert cells(sheet, "Conv-3")["parameters"] == cells(sheet, "Conv-3", "paper")["parameters"]
    assert cells(sheet, "Add-1")["output"] == cells(sheet, "Add-1", "paper")["output"]
    # What the paper does not print is there all the same.
    assert cells(sheet, "classifier")["parameters"] == "1280+5"


def test_a_misprint_stays_beside_ours(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, TABLE7))
    assert cells(sheet, "Conv-5 (a)", "paper")["output"] == "4x4x256"
    assert cells(sheet, "Conv-5 (a)")["output"] == "3x3x256"
    assert sheet.footnotes == [("a", "The FC's 589,824 weights need 3x3 maps.")]


@pytest.mark.parametrize(
    ("network", "size", "classes", "options", "total"),
    [
        ("laenet", 28, 3, "{}", 843),
        ("ststnet", 28, 3, "{}", 1_683),
        ("off_apexnet", 28, 3, "{}", 2_664_475),
        ("affectivenet", 112, 4, "{}", 2_271_296),
        ("originet", 128, 8, "{}", 1_873_384),
        ("learnet", 112, 8, "{reading: authors}", 1_866_824),
        ("vgg16", 224, 1000, "{weights: imagenet}", 138_357_544),
    ],
)
def test_totals_are_those_of_the_papers_page(
    tmp_path: Path, network: str, size: int, classes: int, options: str, total: int
) -> None:
    text = f"""
        kind: layers
        title: All layers
        network: {network}
        input: [3, {size}, {size}]
        classes: {classes}
        options: {options}
    """
    sheet = sheet_of(write_table(tmp_path, text))
    assert cells(sheet, "total")["parameters"] == str(total)
    listed = [row[-1] for row in sheet.grid.lines[:-1]]
    assert sum(int(part) for cell in listed if cell for part in cell.split("+")) == total


def test_a_variant_takes_its_size_from_its_encoding_and_its_classes_from_the_data(tmp_path: Path) -> None:
    text = """
        kind: layers
        title: LAENet's layers
        variant: laenet/base
        data: megc2019_uvos
        rows:
          - {label: Input, paper: {output: 28x28x3}}
          - {label: "C1-1, C1-2", modules: [conv], paper: {output: "28x28x3, 28x28x5"}}
          - {label: P1, paper: {output: 10x10x3}}
          - {label: P2, modules: [average_pool], paper: {output: 5x5x8, kernel: 2x2, stride: 2}}
    """
    sheet = sheet_of(write_table(tmp_path, text))
    # 3x3x3 weights a filter, 8 filters; the pooling of the streams is not in the rows, but is shown.
    assert cells(sheet, "C1-1, C1-2")["parameters"] == f"{3 * 3 * 3 * 8}+8"
    assert cells(sheet, "max_pool")["output"] == "10x10x8"
    labels = [row[0] for row in sheet.grid.lines if row[0]]
    assert labels == ["Input", "C1-1, C1-2", "norm", "max_pool", "P1", "P2", "fc", "total"]
    assert cells(sheet, "P2")["output"] == cells(sheet, "P2", "paper")["output"]
    assert cells(sheet, "total")["parameters"] == "843"
    release = sheet_of(write_table(tmp_path, text.replace("laenet/base", "ststnet/release_order")))
    assert cells(release, "C1-1, C1-2")["output"] == "30x30x16"


class Odd(nn.Module):
    """A layer twice, a shared weight, a layer that is never called, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(7))
        self.twice = nn.Conv2d(2, 2, 1, bias=False)
        self.tied = nn.Conv2d(2, 2, 1, bias=False)
        self.tied.weight = self.twice.weight
        self.idle = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.tied(self.twice(self.twice(images)))
        return maps * self.scale.sum()


def test_nothing_is_counted_twice_or_left_out() -> None:
    network = Odd()
    layers = layers_of(network, torch.zeros(1, 2, 4, 4))
    assert [(layer.name, layer.parameters) for layer in layers] == [
        ("twice", [4]),
        ("tied", []),
        ("Odd", [7]),
        ("idle", [9, 3]),
    ]
    assert [len(layer.outputs) for layer in layers] == [2, 1, 1, 0]
    assert sum(sum(layer.parameters) for layer in layers) == sum(
        each.numel() for each in network.parameters()
    )


def test_hooks_are_taken_off_again() -> None:
    network = networks.LAENet(in_channels=3, num_classes=3)
    layers_of(network, torch.zeros(2, 3, 28, 28))
    assert not any(module._forward_hooks for module in network.modules())


def test_the_docstrings_example(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path / "learnet", example("layers"), "table7.yaml"))
    assert sheet.caption == "LEARNet, table VII: LEARNet Detailed Configuration"
    assert sheet.command == "mer table experiments/learnet/table7.yaml"
    assert cells(sheet, "Conv-3 (a)", "paper")["parameters"] == "4 (4608+32)"
    for text in (to_markdown(sheet), to_latex(sheet), to_csv(sheet)):
        assert "432+16" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: LEARNet's layers", "titel: x", "titel: unknown key"),
        ("network: learnet", "", "exactly one of variant and network"),
        ("network: learnet", "network: lernet", "network=lernet: no such config; there are affectivenet"),
        ("network: learnet", "variant: learnet", "learnet: <experiment>/<variant> is needed"),
        ("network: learnet", "network: svm", "not a torch.nn.modules.module.Module"),
        ("classes: 5", "", "exactly one of data and classes"),
        ("classes: 5", "classes: 0", "classes=0: at least 1"),
        ("classes: 5", "data: folder", "data=folder: its config lists no classes"),
        ("input: [3, 112, 112]", "", r"network=learnet needs input: \[channels, height, width\]"),
        ("input: [3, 112, 112]", "input: [3, 112]", r"input: \[3, 112\] does not fit"),
        ("input: [3, 112, 112]", "input: [3, 64, 64]", "LEARNet was built for images of 112x112"),
        (
            "classes: 5",
            "classes: 5\n    options: {lanes: 5}",
            "network: .*unexpected keyword argument 'lanes'",
        ),
        ("[conv5]", "[conv6]", r"rows\[9\] \(Conv-5\)\.modules: no layer conv6; there are conv1, "),
        ("[fc]", "[conv5]", "rows: conv5 stands in two"),
        ("notes: [unpadded]", "notes: [padded]", r"\(Conv-5\)\.notes: 'padded' is no key of footnotes"),
        (", notes: [unpadded]", "", r"footnotes\.unpadded: no row has it"),
        ("stride: 2, parameters: 432+16", "strides: 2", r"\.paper\.strides: no such column; there are type"),
        ("parameters: 432+16", "parameters: [432, 16]", r"\.paper\.parameters: \['?432'?, '?16'?\] does not"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE7
    path = write_table(tmp_path, TABLE7.replace(old, new))
    with pytest.raises(MerError, match=message) as caught:
        sheet_of(path)
    assert "\n" not in str(caught.value)


def test_settings_of_runs_are_passed_over_and_others_are_not(tmp_path: Path) -> None:
    path = write_table(tmp_path, TABLE7)
    assert sheet_of(path, ["runs_dir=elsewhere", "data.root=/data"]) == sheet_of(path)
    with pytest.raises(MerError, match="epochs=3: a table of this kind takes no overrides"):
        sheet_of(path, ["epochs=3"])
