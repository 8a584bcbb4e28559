"""Batch norm of a batch that is filled up is the batch norm of the rows that count."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from mer.tasks.masked_batch_norm import MaskedBatchNorm, masked_batch_norm


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 5)])
def test_it_is_torch_s_of_the_rows_that_count(shape: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    given = torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
    weight, bias = torch.rand(2, 4, generator=draw, dtype=torch.float64)
    factor = torch.randn(shape, generator=draw, dtype=torch.float64)
    counted = torch.tensor([True, True, True, True, False, False])
    mean, variance = torch.rand(2, 4, generator=draw, dtype=torch.float64)
    theirs, ours = [mean.clone(), variance.clone()], [mean.clone(), variance.clone()]
    expected = F.batch_norm(given[:4], theirs[0], theirs[1], weight, bias, True, 0.3, 1e-3)
    found = masked_batch_norm(given, counted, ours[0], ours[1], weight, bias, momentum=0.3, eps=1e-3)
    torch.testing.assert_close(found[:4], expected)
    torch.testing.assert_close(ours, theirs)
    assert not ours[0].equal(mean)
    gradients = [
        torch.autograd.grad((normed[:4] * factor[:4]).sum(), given)[0] for normed in (expected, found)
    ]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_under_vmap_every_layer_minds_the_rows_of_its_fold() -> None:
    networks = [
        nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, affine=False)) for _ in range(2)
    ]
    images = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    counted = torch.arange(5) < torch.tensor([[5], [3]])
    weights, statistics = stack_module_state(list(networks))

    def call(
        weights: object, statistics: object, images: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        with MaskedBatchNorm(counted):
            maps: torch.Tensor = functional_call(networks[0], (weights, statistics), (images,))  # type: ignore[arg-type]
        return maps

    found = vmap(call)(weights, statistics, images, counted)
    for k, (network, size) in enumerate(zip(networks, (5, 3), strict=True)):
        torch.testing.assert_close(found[k, :size], network(images[k, :size]))
        for name, value in network.named_buffers():
            torch.testing.assert_close(statistics[name][k], value)


def test_outside_training_it_is_torch_s_own() -> None:
    network = nn.BatchNorm2d(3).eval()
    images = torch.randn(2, 3, 4, 4)
    with MaskedBatchNorm(torch.tensor([True, False])):
        assert network(images).equal(network(images))
    assert network.running_mean is not None
    assert network.running_mean.equal(torch.zeros(3))
