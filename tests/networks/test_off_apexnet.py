import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import OFFApexNet
from tests.networks.formula_weights import draw_images, fill


@pytest.mark.parametrize("num_classes", [3, 5])
def test_parameters_by_layer(num_classes: int) -> None:
    stream = (5 * 5 * 1 * 6 + 6) + (5 * 5 * 6 * 16 + 16)
    head = (2 * 784 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * num_classes + num_classes)
    network = OFFApexNet(in_channels=3, num_classes=num_classes)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 2 * stream + head
    if num_classes == 3:
        assert count == 2_664_475


def two_streams(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The paper's two streams, each on its own component, then its three FC."""
    features = []
    for stream in range(2):
        maps = images[:, stream : stream + 1]
        for layer, filters in (("streams.0", 6), ("streams.3", 16)):
            own = slice(stream * filters, (stream + 1) * filters)
            maps = F.conv2d(maps, weights[f"{layer}.weight"][own], weights[f"{layer}.bias"][own], padding=2)
            maps = F.max_pool2d(F.relu(maps), 2)
        assert maps.shape[1:] == (16, 7, 7)
        features.append(maps.flatten(1))
    x = torch.cat(features, dim=1)
    for layer in ("head.0", "head.3"):
        x = F.relu(F.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    return F.linear(x, weights["head.6.weight"], weights["head.6.bias"])


def test_the_groups_are_the_papers_two_streams() -> None:
    network = OFFApexNet(in_channels=3, num_classes=3)
    weights = fill(network)
    images = draw_images(4, 3, 28, 28)
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(
            logits, two_streams(weights, images), rtol=1e-4, atol=1e-4 * float(logits.abs().max())
        )
    assert (logits[0] - logits[1]).abs().max() > 1e-3 * logits.abs().max()  # the images matter


def test_pooled_before_relu_the_gradients_are_the_same() -> None:
    network = OFFApexNet(in_channels=3, num_classes=3, dropout=0.0).double()
    fill(network)
    images = draw_images(4, 3, 28, 28).double()
    torch.autograd.backward(network(images).square().sum())
    weights = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    torch.autograd.backward(two_streams(weights, images).square().sum())
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, weights[name].grad)
        assert value.grad is not None
        assert value.grad.abs().max() > 0


def test_the_strain_is_not_read() -> None:
    three, two = (OFFApexNet(in_channels=channels, num_classes=3) for channels in (3, 2))
    fill(three)
    fill(two)
    images = draw_images(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(three(images), two(images[:, :2]))
        for component in (0, 1):
            other = images.clone()
            other[:, component] = 0
            assert not torch.allclose(three(images), three(other))


def test_dropout_follows_each_fc() -> None:
    network = OFFApexNet(in_channels=3, num_classes=3, dropout=1.0)
    fill(network)
    network.train()
    last = network.head[6]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        torch.testing.assert_close(network(draw_images(1, 3, 28, 28))[0], last.bias)
    assert sum(isinstance(layer, nn.Dropout) for layer in network.head) == 2


@pytest.mark.parametrize("in_channels", [1, 4])
def test_other_channels_are_refused(in_channels: int) -> None:
    with pytest.raises(MerError, match=rf"not {in_channels} channels: set encoding=apex_flow"):
        OFFApexNet(in_channels=in_channels, num_classes=3)


def test_another_size_names_the_key() -> None:
    with pytest.raises(MerError, match=r"28x28, not 32x30.*encoding\.size=28"):
        OFFApexNet(in_channels=3, num_classes=3)(torch.zeros(1, 3, 32, 30))


def test_overfits_eight_images() -> None:
    torch.manual_seed(0)
    images, targets = draw_images(8, 3, 28, 28), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    network = OFFApexNet(in_channels=3, num_classes=3, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(20):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), targets))
        optimizer.step()
    assert (network.eval()(images).argmax(1) == targets).all()
