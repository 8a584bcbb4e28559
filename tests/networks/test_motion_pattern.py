import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.motion_pattern import TemporalNetwork
from tests.networks.formula_weights import filled, parameters


def flow(*shape: int, scale: float = 0.1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)) * scale


def test_parameters_at_the_papers_width() -> None:
    units = [
        (2, 64, 49),
        (64, 128, 9),
        (128, 256, 9),
        (256, 512, 9),
        (512 + 512, 256, 9),
        (256 + 256, 128, 9),
    ]
    weights_and_norms = sum(before * after * taps + 2 * after for before, after, taps in units)
    with torch.device("meta"):
        assert parameters(TemporalNetwork()) == weights_and_norms + 128 + 1 == 4_506_497


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 32), (16, 48)])
def test_shapes(height: int, width: int) -> None:
    network = TemporalNetwork(width=1 / 8)
    assert network(flow(2, 2, height, width)).shape == (2, 1, height // 4, width // 4)


def test_logits_are_those_of_the_units() -> None:
    network = filled(TemporalNetwork(width=1 / 8)).eval()
    state = network.state_dict()

    def unit(name: str, maps: Tensor) -> Tensor:
        weight = state[f"{name}.0.weight"]
        maps = F.conv2d(maps, weight, padding=weight.shape[-1] // 2)
        mean, var, gain, shift = (
            state[f"{name}.1.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.relu((maps - mean) / (var + 1e-5).sqrt() * gain + shift)

    def doubled(maps: Tensor) -> Tensor:
        return maps.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)

    x = flow(2, 2, 32, 32).double()
    e1 = unit("encoder.0", x)
    e2 = unit("encoder.1", F.max_pool2d(e1, 2))
    e3 = unit("encoder.2", F.max_pool2d(e2, 2))
    e4 = unit("encoder.3", F.max_pool2d(e3, 2))
    d1 = unit("decoder.0", torch.cat([doubled(F.max_pool2d(e4, 2)), e4], 1))
    d2 = unit("decoder.1", torch.cat([doubled(d1), e3], 1))
    expected = F.conv2d(d2, state["head.weight"], state["head.bias"])
    with torch.no_grad():
        found = network(x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_in_training_the_scale_of_the_flow_does_not_matter() -> None:
    torch.manual_seed(0)
    network = TemporalNetwork(width=1 / 8).double().train()
    fields = flow(4, 2, 32, 32).double()
    with torch.no_grad():
        small, large = network(fields), network(10 * fields)
    assert small.std() > 1e-2
    torch.testing.assert_close(small, large, rtol=0, atol=2e-2 * float(small.std()))  # eps of the first norm


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = TemporalNetwork(width=1 / 8)
    logits = network(flow(2, 2, 32, 32))
    torch.autograd.backward(F.binary_cross_entropy_with_logits(logits, torch.eye(8).expand(2, 1, 8, 8)))
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not dead


def test_learns_which_pixels_move() -> None:
    """Patches that move by .1 pixel, before noise of a third of that."""
    torch.manual_seed(0)
    fields, moving = flow(16, 2, 32, 32, scale=0.03), torch.zeros(16, 1, 8, 8)
    for k in range(16):
        top, left = k % 4, k // 4
        fields[k, :, 8 * top : 8 * top + 8, 8 * left : 8 * left + 8] += 0.1
        moving[k, :, 2 * top : 2 * top + 2, 2 * left : 2 * left + 2] = 1
    network = TemporalNetwork(width=1 / 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(F.binary_cross_entropy_with_logits(network(fields), moving))
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(fields) > 0
    assert (found == moving.bool()).float().mean() > 0.99  # 15/16 of the pixels are still


@pytest.mark.parametrize("shape", [(24, 32), (32, 28), (0, 32)])
def test_flow_of_another_size_is_refused(shape: tuple[int, int]) -> None:
    network = TemporalNetwork(width=1 / 8)
    with pytest.raises(MerError, match=rf"multiples of 16, not {shape[0]}x{shape[1]}: set encoding\.size"):
        network(torch.zeros(1, 2, *shape))


def test_a_wrong_width_names_the_key() -> None:
    with pytest.raises(MerError, match=r"network\.width=-1"):
        TemporalNetwork(width=-1)
