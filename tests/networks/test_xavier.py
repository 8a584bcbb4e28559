import pytest
import torch
from torch import nn

from mer.networks.xavier import fill_xavier


@pytest.mark.parametrize(
    ("layer", "taps"), [(nn.Conv2d(16, 64, 3), 9), (nn.Linear(200, 100), 1)], ids=["convolution", "FC"]
)
def test_uniform_within_glorots_bound(layer: nn.Conv2d | nn.Linear, taps: int) -> None:
    torch.manual_seed(0)
    fill_xavier(nn.Sequential(layer))
    outputs, inputs = layer.weight.shape[:2]
    bound = (6 / (taps * (inputs + outputs))) ** 0.5
    weight = layer.weight.detach()
    assert bound * 0.99 < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)  # of a uniform distribution
    assert layer.bias is not None
    assert not layer.bias.any()


def test_recurrent_layers_and_norms_stay() -> None:
    layers = nn.Sequential(nn.GRU(4, 4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, bias=False))
    before = {name: value.clone() for name, value in layers.state_dict().items()}
    fill_xavier(layers)
    changed = {name for name, value in layers.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"2.weight"}
