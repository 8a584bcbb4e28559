"""Figures of the papers: their maps against the layers' own answers, and the files."""

from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from torch import nn
from torch.nn import functional as F

from mer import figures, runs, train
from mer.errors import MerError
from mer.figure_kinds.activation_curves import NAMES, STYLES, curves
from mer.figure_kinds.feature_maps import find_panels, maps_of
from mer.figure_kinds.paper_figures import FIGURES
from mer.figure_kinds.responses import image_picture, map_picture, responses, strongest
from mer.figure_kinds.trained import Source, choose, networks, read_source, show
from mer.networks import AffectiveNet, LEARNet, OrigiNet, ResNet50
from mer.networks.affectivenet import EncapFeat
from mer.networks.refined_relu import ACTIVATIONS, refined_relu
from tests.trees import write_megc2019_uvos

SMALL = ("data.clips.subjects=2", "data.clips.clips_per_class=1", "data.clips.size=48")
TINY = ("network.size=32", "encoding.size=32")


@pytest.fixture
def image() -> torch.Tensor:
    return 255 * torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_affectivenets_maps_are_those_of_its_convolutions(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = AffectiveNet(in_channels=3, num_classes=3, size=64).eval()
    rows = FIGURES["affectivenet"][3].maps(network, image)
    first = FIGURES["affectivenet"][4].maps(network, image)
    scales = FIGURES["affectivenet"][7].maps(network, image)
    assert list(first[""]) == ["conv 3x3", "conv 5x5", "conv 7x7", "conv 11x11"]
    assert list(scales) == ["3x3 and 5x5"]
    with torch.no_grad():
        for k, (kernel, row) in enumerate(zip((3, 5, 7, 11), rows, strict=True)):
            assert row == f"stream {k + 1}, {kernel}x{kernel}"
            conv, encap = (network.get_submodule(f"streams.{k}.{part}") for part in (0, 2))
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(encap, EncapFeat)
            maps = F.relu(F.conv2d(image[None], conv.weight, conv.bias, padding=kernel // 2))
            small, large = (F.relu(layer(maps)) for layer in (encap.small, encap.large))
            refined = F.relu(encap.refine(small + large))
            expected = [each[0].mean(0) for each in (maps, small, large, refined)]
            torch.testing.assert_close(list(rows[row].values()), expected)
            torch.testing.assert_close(first[""][f"conv {kernel}x{kernel}"], expected[0])
            pair = [scales["3x3 and 5x5"][f"stream {k + 1}, {which}"] for which in ("smaller", "larger")]
            torch.testing.assert_close(pair, expected[1:3])


def test_originets_lanes_add_up(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = OrigiNet(in_channels=3, num_classes=3, size=64).eval()
    (row,) = FIGURES["originet"][4].maps(network, image).values()
    assert list(row) == ["conv 3x3", "conv 5x5", "sum"]
    kept: list[torch.Tensor] = []
    network.norms[0].register_forward_hook(lambda _module, inputs, _output: kept.append(inputs[0]))
    with torch.no_grad():
        network(image[None])
        small = refined_relu(network.small[0](image[None]))[0].mean(0)
    torch.testing.assert_close(row["conv 3x3"], small)
    torch.testing.assert_close(row["sum"], kept[0][0].mean(0))  # what the network's batch norm reads
    (levels,) = FIGURES["originet"][5].maps(network, image).values()
    torch.testing.assert_close(levels["level 1"], row["sum"])
    assert levels["level 2"].shape == (16, 16)


def test_learnets_lanes_accrete(image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = LEARNet(in_channels=3, num_classes=3, size=64).eval()
    rows = FIGURES["learnet"][4].maps(network, image)
    kept: list[torch.Tensor] = []
    for k in range(4):
        network.conv3[k].register_forward_hook(lambda _module, inputs, _output: kept.append(inputs[0]))
    with torch.no_grad():
        network(image[None])
    for k, row in enumerate(rows.values()):
        plain, neighbour, summed = row.values()
        torch.testing.assert_close(plain + neighbour, summed)
        torch.testing.assert_close(plain, kept[2 * k][0].mean(0))  # a plain lane convolves what it has
        torch.testing.assert_close(summed, kept[2 * k + 1][0].mean(0))  # the next one the sum
    (filters,) = FIGURES["learnet"][3].maps(network, image).values()
    assert len(filters) == 16
    expected = torch.relu(network.conv1(image[None]))[0, 6].detach()
    torch.testing.assert_close(filters["filter 7"], expected)


def test_the_strongest_maps_come_first(image: torch.Tensor) -> None:
    maps = torch.stack([torch.full((2, 2), value) for value in (1.0, 5.0, -2.0, 3.0)])
    assert [float(each[0, 0]) for each in strongest(maps, 3)] == [5, 3, 1]
    torch.manual_seed(0)
    network = ResNet50(in_channels=3, num_classes=3).eval()
    (found,) = FIGURES["affectivenet"][6].maps(network, image).values()
    stem = network.network.get_submodule("conv1"), network.network.get_submodule("bn1")
    with torch.no_grad():
        scaled = (image[None] - network.mean) * network.scale
        level = F.relu(stem[1](stem[0](scaled)))[0]
    order = level.mean((1, 2)).argsort(descending=True)[:3]
    torch.testing.assert_close(torch.stack(list(found.values())), level[order])


def test_responses_are_kept_before_they_change_in_place(image: torch.Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True), nn.Flatten()).eval()
    found = responses(network, image, ["0", "1"])
    assert found["0"].min() < 0
    assert torch.equal(found["0"].relu(), found["1"])
    with pytest.raises(MerError, match="has no module 'conv9'; it has 0, 1"):
        responses(network, image, ["conv9"])
    with pytest.raises(MerError, match="module 2 gives no maps"):
        responses(network, image, ["2"])


def test_pictures_of_maps_and_images() -> None:
    picture = map_picture(torch.tensor([[-3.0, 1.0], [5.0, 1.0]]))
    assert picture[0, 0].sum() < 10  # the least is black
    assert picture[1, 0].min() > 180  # the greatest is light
    assert (map_picture(torch.full((2, 2), 7.0)) == picture[0, 0]).all()  # a map without contrast
    flow = torch.tensor([[[0.0, 51.0]], [[255.0, 102.0]]])
    assert image_picture(flow).tolist() == [[[0, 255, 0], [51, 102, 0]]]
    assert image_picture(torch.tensor([[[-1.0, 0.0, 1.0]]]))[..., 0].tolist() == [[0, 128, 255]]


def test_the_curves_are_the_modules() -> None:
    x, found = curves(101)
    assert set(found) == set(STYLES) == set(NAMES) == set(ACTIVATIONS)
    at = {value: int(abs(x - value).argmin()) for value in (-2.0, 1.0)}
    sigmoid = 1 / (1 + 2.718281828459045**-1)
    assert found["refined"][0][at[1.0]] == pytest.approx(2 * sigmoid)  # eq 4 at 1
    assert found["refined"][1][at[1.0]] == pytest.approx(2 * sigmoid * (1 - sigmoid) + sigmoid)
    assert found["leaky"][0][at[-2.0]] == pytest.approx(-0.2)
    assert found["leaky"][1][at[-2.0]] == pytest.approx(0.1)
    assert found["relu"][1][at[-2.0]] == 0


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [*SMALL, f"runs_dir={tmp_path}"]
    figures.main(["affectivenet", "--figure", "7", "--figure", "3", *common, *TINY])
    figures.main(["originet", "--figure", "3", *common])
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == [
        "affectivenet-figure7-synthetic.png",
        "affectivenet-figure3-synthetic.png",
        "originet-figure3.png",
    ]
    seventh, third, curves_ = (imread(path).shape for path in paths)
    assert seventh[0] > 3 * 4 * 112  # three clips of four networks
    assert seventh[1] > 9 * 112  # the clip, and two scales of four streams
    assert third[0] > 3 * 4 * 112  # three clips of four streams
    assert curves_ == (560, 1200, 4)


def test_maps_are_of_the_clips_that_are_asked_for() -> None:
    source = read_source(
        ["experiment=learnet", *SMALL, *TINY[1:], "network.size=33", "encoding.size=33"], None
    )
    chosen = choose(source, ["s02/c01", "synthetic/s01/c02"])
    assert chosen["subject"].tolist() == ["s02", "s01"]
    shown = {"LEARNet": show(source, chosen)}
    assert shown["LEARNet"].clips["clip"].tolist() == ["c01", "c02"]
    blocks, columns = maps_of(FIGURES["learnet"][3], {"LEARNet": source}, shown)
    assert [name.splitlines()[1:] for name in blocks] == [["s02/", "c01"], ["s01/", "c02"]]
    assert len(columns) == 16
    network = networks(source, shown["LEARNet"])[1]
    (image, maps) = blocks[list(blocks)[1]][""]
    assert torch.equal(image, shown["LEARNet"].images[1])
    torch.testing.assert_close(maps[0], responses(network, image, ["conv1"])["conv1"].relu()[0])
    everyone = choose(source, [])
    assert everyone["label"].tolist() == ["negative", "positive", "surprise"]


def test_a_run_stands_in_the_panel_of_its_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["variant=affectivenet/ks1", "augment=none", "epochs=1", "workers=1", "engine=processes"]
    train.main([*given, *SMALL, *TINY, "save_checkpoint=true", "tag=small", f"runs_dir={tmp_path}"])
    (run,) = runs.find(tmp_path)
    capsys.readouterr()
    figures.main(["affectivenet", "--run", str(run), "--figure", "4"])
    assert capsys.readouterr().out.strip() == str(run / "figures/affectivenet-figure4-synthetic.png")
    with pytest.raises(
        MerError, match="its network fits no panel of figure 7 of affectivenet; there are Af-Net-KS"
    ):
        figures.main(["affectivenet", "--figure", "7", "--run", str(run)])  # of another size
    figures.main(["affectivenet", "--run", str(run)])
    printed = capsys.readouterr()
    assert [Path(line).name for line in printed.out.splitlines()] == [
        f"affectivenet-figure{number}-synthetic.png" for number in (3, 4)
    ]
    assert [line.split(":")[0] for line in printed.err.splitlines() if "left out" in line] == [
        "figure 6 left out",
        "figure 7 left out",
    ]

    # Trained weights, not those that the seed draws.
    source = read_source([], run)
    shown = show(source, choose(source, []))
    trained, fresh = networks(source, shown)[0], networks(Source(source.cfg), shown)[0]
    assert isinstance(trained, AffectiveNet)
    assert isinstance(fresh, AffectiveNet)
    assert not torch.equal(trained.classifier.weight, fresh.classifier.weight)
    (path,) = runs.fold_folder(run, "synthetic/s01").glob("checkpoint.safetensors")
    path.unlink()
    with pytest.raises(MerError, match="save_checkpoint=true"):
        networks(source, shown)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"affectivenet has no figure 5 to draw; there are 3, 4, 6, 7"):
        figures.main(["affectivenet", "--figure", "5"])
    with pytest.raises(MerError, match=r"no clip s01/c99; near it are s01/c0"):
        figures.main(["learnet", "--figure", "3", "--clip", "s01/c99", *SMALL])
    with pytest.raises(MerError, match=r"experiment=laenet: figure 3 of learnet sets it itself"):
        figures.main(["learnet", "--figure", "3", "experiment=laenet"])
    with pytest.raises(MerError, match=r"variant=affectivenet/ks1: figure 7 of affectivenet sets it itself"):
        figures.main(["affectivenet", "--figure", "7", "variant=affectivenet/ks1"])
    root = write_megc2019_uvos(tmp_path / "uvos")
    with pytest.raises(
        MerError, match=r"data=megc2019_uvos: these clips are encoded images already; LEARNet enc"
    ):
        figures.main(["learnet", "--figure", "3", "data=megc2019_uvos", f"data.root={root}"])
    with pytest.raises(MerError, match=r"no figure 'heads'; there is encodings, spotting, affectivenet, "):
        figures.main(["heads"])


def test_each_panel_has_its_variant() -> None:
    panels = find_panels("affectivenet", 7, FIGURES["affectivenet"][7], [], [])
    kernels = [list(source.cfg.network.encap_kernels) for source in panels.values()]
    assert kernels == [[5, 7], [7, 11], [3, 5], [3, 5]]
    assert [source.cfg.network.mfl for source in panels.values()] == ["full", "full", "lfc", "full"]
