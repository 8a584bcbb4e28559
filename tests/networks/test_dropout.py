import pytest
import torch
from torch.func import vmap

from mer.networks.dropout import Dropout


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_as_torch_s_in_distribution(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(1000, 1000))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p)) ** 0.5 / 1000)


def test_the_gradient_passes_where_the_values_do() -> None:
    values = torch.rand(50, 50).add(1).requires_grad_()
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, dropped.detach() / values.detach())


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends(p: float) -> None:
    assert torch.equal(Dropout(p)(torch.ones(9)), torch.full((9,), 1 - p))


def test_evaluation_drops_nothing() -> None:
    values = torch.rand(9)
    assert torch.equal(Dropout(0.5).eval()(values), values)


def test_folds_together_draw_each_their_own() -> None:
    first, second = vmap(Dropout(0.5), randomness="different")(torch.ones(2, 100))
    assert not torch.equal(first, second)
