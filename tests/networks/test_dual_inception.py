import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import DualInception
from tests.networks.formula_weights import draw_images, fill


def inception_parameters(channels: int, filters: int) -> int:
    one = channels * filters + filters
    three, five = (side * side * filters * filters + filters for side in (3, 5))
    return one + (one + three) + (one + five) + one


@pytest.mark.parametrize("copies", [3, 1])
def test_parameters_by_layer(copies: int) -> None:
    stream = inception_parameters(copies, 6) + inception_parameters(24, 16)
    expected = 2 * stream + (2 * 3136 * 1024 + 1024) + (1024 * 3 + 3)
    network = DualInception(in_channels=3, num_classes=3, copies=copies)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert expected == {3: 6_449_963, 1: 6_449_963 - 96}[copies]


def authors_network(weights: dict[str, Tensor], images: Tensor, copies: int) -> Tensor:
    """The layers of the authors' code, on each component as a grey image of three channels."""

    def conv(name: str, maps: Tensor) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.relu(F.conv2d(maps, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2))

    def inception(name: str, maps: Tensor) -> Tensor:
        padded = F.pad(maps, (1, 1, 1, 1), value=-torch.inf)
        largest = padded.unfold(2, 3, 1).unfold(3, 3, 1).amax(dim=(-2, -1))
        return torch.cat(
            [
                conv(f"{name}.path1", maps),
                conv(f"{name}.path3", conv(f"{name}.reduce3", maps)),
                conv(f"{name}.path5", conv(f"{name}.reduce5", maps)),
                conv(f"{name}.path_pool", largest),
            ],
            dim=1,
        )

    features = []
    for channel, stream in enumerate(("stream_u", "stream_v")):
        maps = torch.stack([images[:, channel] / 255] * copies, dim=1)
        for block, filters in (("0", 6), ("2", 16)):
            maps = inception(f"{stream}.{block}", maps)
            assert maps.shape[1] == 4 * filters
            maps = F.max_pool2d(maps, 2)
        assert maps.shape[1:] == (64, 7, 7)
        features.append(maps.flatten(1))
    x = F.relu(F.linear(torch.cat(features, dim=1), weights["fc.weight"], weights["fc.bias"]))
    return F.linear(x, weights["classifier.weight"], weights["classifier.bias"])


@pytest.mark.parametrize("copies", [3, 1])
def test_outputs_are_those_of_the_authors_layers(copies: int) -> None:
    network = DualInception(in_channels=3, num_classes=3, copies=copies)
    weights = fill(network)
    images = draw_images(4, 3, 28, 28)
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(logits, authors_network(weights, images, copies), rtol=1e-4, atol=1e-5)
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * logits.abs().max()  # the images matter


def test_one_copy_can_do_what_three_do() -> None:
    three, one = (DualInception(in_channels=2, num_classes=3, copies=copies) for copies in (3, 1))
    state = fill(three)
    one.load_state_dict(
        {
            name: value.sum(dim=1, keepdim=True) if value.shape[1:] == (3, 1, 1) else value
            for name, value in state.items()
        }
    )
    images = draw_images(2, 2, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(images), three(images), rtol=1e-4, atol=1e-5)


def test_the_strain_is_not_read() -> None:
    three, two = (DualInception(in_channels=channels, num_classes=3) for channels in (3, 2))
    fill(three)
    fill(two)
    images = draw_images(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(three(images), two(images[:, :2]))


@pytest.mark.parametrize("in_channels", [1, 4])
def test_other_channels_are_refused(in_channels: int) -> None:
    with pytest.raises(MerError, match=rf"not {in_channels} channels: set encoding=apex_flow"):
        DualInception(in_channels=in_channels, num_classes=3)


def test_wrong_options_name_the_key() -> None:
    with pytest.raises(MerError, match=r"28x28, not 32x30.*encoding\.size=28"):
        DualInception(in_channels=3, num_classes=3)(torch.zeros(1, 3, 32, 30))
    with pytest.raises(MerError, match=r"network\.copies=0"):
        DualInception(in_channels=3, num_classes=3, copies=0)


def test_overfits_eight_images() -> None:
    torch.manual_seed(0)
    images, targets = draw_images(8, 3, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    network = DualInception(in_channels=3, num_classes=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3, fused=True)
    for _ in range(30):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), targets))
        optimizer.step()
    assert (network.eval()(images).argmax(1) == targets).all()
