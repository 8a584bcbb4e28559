from pathlib import Path

import pytest
import torch
from torch import nn

from mer.bench.plain_loop import ThreeStreams
from mer.errors import MerError
from mer.networks import LAENet, STSTNet
from mer.networks.ststnet import Padding, load_released


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("network", "count"), [(STSTNet, 1683), (LAENet, 843)])
def test_parameter_counts_of_the_papers(network: type[STSTNet], count: int) -> None:
    assert parameters(network(in_channels=3, num_classes=3)) == count


@pytest.mark.parametrize("padding", ["same", "release"])
@pytest.mark.parametrize("network", [STSTNet, LAENet])
def test_layers_have_the_printed_sizes(network: type[STSTNet], padding: Padding) -> None:
    module = network(in_channels=3, num_classes=3, padding=padding)
    convolved = module.conv(module.border(torch.zeros(2, 3, 28, 28)))
    assert convolved.shape[-1] == (30 if padding == "release" else 28)
    assert module.max_pool(convolved).shape[-2:] == (10, 10)
    assert module(torch.zeros(2, 3, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 2), (3, 5)])
def test_channels_and_classes_are_free(in_channels: int, num_classes: int) -> None:
    assert STSTNet(in_channels=in_channels, num_classes=num_classes)(
        torch.zeros(1, in_channels, 28, 28)
    ).shape == (
        1,
        num_classes,
    )


def released_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict with the keys and shapes that the release documents."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    state: dict[str, torch.Tensor] = {}
    for k, width in (("1", 3), ("2", 5), ("3", 8)):
        state |= {f"conv{k}.weight": draw(width, 3, 3, 3), f"conv{k}.bias": draw(width)}
        state |= {
            f"bn{k}.weight": draw(width),
            f"bn{k}.bias": draw(width),
            f"bn{k}.running_mean": draw(width),
        }
        state |= {
            f"bn{k}.running_var": draw(width).abs() + 0.5,
            f"bn{k}.num_batches_tracked": torch.tensor(7),
        }
    return state | {"fc.weight": draw(3, 400), "fc.bias": draw(3)}


def authors_network(state: dict[str, torch.Tensor]) -> nn.Module:
    """The release's layout, three separate streams, with its weights."""
    network = ThreeStreams(release=True)
    ours = {}
    for name, value in state.items():
        layer, part = name.split(".")
        place = {"conv": "convs", "bn": "norms"}.get(layer[:-1])
        ours[f"{place}.{int(layer[-1]) - 1}.{part}" if place else name] = value
    network.load_state_dict(ours)
    return network.eval()


def test_released_weights_give_the_authors_outputs(tmp_path: Path) -> None:
    state = released_state()
    torch.save(state, tmp_path / "sub01.pth")
    images = torch.rand(5, 3, 28, 28, generator=torch.Generator().manual_seed(1)) * 255
    ours = load_released(tmp_path / "sub01.pth").eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(images), authors_network(state)(images), rtol=1e-5, atol=1e-3)
        # The release reads B, G, R: the reverse order is another input.
        assert not torch.allclose(ours(images), ours(images.flip(1)), atol=1.0)


@pytest.mark.parametrize("training", [False, True])
def test_fused_streams_have_the_gradients_of_separate_ones(tmp_path: Path, training: bool) -> None:
    state = released_state()
    torch.save(state, tmp_path / "a.pth")
    ours, theirs = load_released(tmp_path / "a.pth"), authors_network(state)
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(2)) * 255
    outputs = []
    for network in (ours, theirs):
        dropout = network.get_submodule("dropout")
        assert isinstance(dropout, nn.Dropout)
        dropout.p = 0.0
        outputs.append(network.train(training)(images))
        torch.autograd.backward(outputs[-1].square().sum())
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-3)
    separate = torch.cat([conv.weight.grad for conv in theirs.convs])  # type: ignore[union-attr]
    torch.testing.assert_close(ours.conv.weight.grad, separate, rtol=1e-4, atol=1e-1)
    torch.testing.assert_close(ours.fc.weight.grad, theirs.fc.weight.grad, rtol=1e-4, atol=1e-1)  # type: ignore[union-attr]


def test_released_file_errors(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"nothing\.pth: no such weight file"):
        load_released(tmp_path / "nothing.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(MerError, match=r"text\.pth: not a state dict"):
        load_released(tmp_path / "text.pth")
    torch.save({"conv1.weight": torch.zeros(3, 3, 3, 3)}, tmp_path / "half.pth")
    with pytest.raises(MerError, match=r"half\.pth: not an STSTNet release.*conv2\.weight"):
        load_released(tmp_path / "half.pth")
    torch.save(released_state() | {"fc.weight": torch.zeros(3, 5)}, tmp_path / "shape.pth")
    with pytest.raises(MerError, match=r"shape\.pth: shapes of another network"):
        load_released(tmp_path / "shape.pth")


def test_no_code_is_run_from_a_weight_file(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (marker,))  # type: ignore[return-value]

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(MerError, match="without running code"):
        load_released(tmp_path / "trap.pth")
    assert not marker.exists()


def test_wrong_options_name_the_key() -> None:
    with pytest.raises(MerError, match=r"network\.padding='valid'"):
        STSTNet(in_channels=3, num_classes=3, padding="valid")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"28x28, not 32x30.*encoding\.size=28"):
        LAENet(in_channels=3, num_classes=3)(torch.zeros(1, 3, 32, 30))


@pytest.mark.parametrize("network", [STSTNet, LAENet])
def test_overfits_eight_images(network: type[STSTNet]) -> None:
    torch.manual_seed(0)
    images, targets = torch.rand(8, 3, 28, 28) * 255, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    module = network(in_channels=3, num_classes=3, dropout=0.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(module(images), targets))
        optimizer.step()
    assert (module.eval()(images).argmax(1) == targets).all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("conv1.weight", torch.full((3, 3, 3, 3), float("nan")), "conv1.weight holds no finite numbers"),
        ("fc.bias", torch.zeros(0), "fc.bias holds no finite numbers"),
        ("bn2.weight", 3, "bn2.weight holds no finite numbers"),
        ("conv2.bias", torch.zeros(()), r"conv2.bias has the shape \(\), that of another network"),
        ("conv2.weight", torch.zeros(5, 2, 3, 3), "shapes of another network"),
        ("fc.weight", torch.zeros(3, 7), "shapes of another network"),
    ],
)
def test_a_release_of_other_values_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    torch.save(released_state() | {key: value}, tmp_path / "sub01.pth")
    with pytest.raises(MerError, match=message) as caught:
        load_released(tmp_path / "sub01.pth")
    assert "\n" not in str(caught.value)


def test_a_flipped_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sub01.pth"
    state = released_state()
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[content.index(state["conv1.weight"].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(MerError, match="has another check sum"):
        load_released(path)
