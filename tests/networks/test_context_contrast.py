import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.context_contrast import ContextContrast
from tests.networks.formula_weights import filled, parameters


def contrast(dilation: int = 4) -> ContextContrast:
    return filled(ContextContrast(channels=6, dilation=dilation))


def maps(batch: int = 2, frames: int = 4, side: int = 8) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.rand((batch, frames, 6, side, side), generator=draw, dtype=torch.float64) * 2 - 1


def test_parameters_at_the_papers_width() -> None:
    with torch.device("meta"):
        network = ContextContrast(channels=128)
    assert parameters(network) == 2 * (9 * 128 * 128 + 128) + 4 * 128 * 128 + 128


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_equations_1_to_3_frame_by_frame(dilation: int) -> None:
    network, sequence = contrast(dilation), maps()
    state = network.state_dict()

    def m_l(fm: Tensor) -> Tensor:
        return F.conv2d(fm, state["local.weight"], state["local.bias"], padding=1)

    def m_c(fm: Tensor) -> Tensor:
        return F.conv2d(
            fm, state["context.weight"], state["context.bias"], padding=dilation, dilation=dilation
        )

    with torch.no_grad():
        found, fused = network.differences(sequence), network(sequence)
    assert found.shape == (2, 3, 3, 6, 8, 8)
    for t in range(3):
        now, following = sequence[:, t], sequence[:, t + 1]
        l1c2 = m_l(now) - m_c(following)
        l1l2 = m_l(now) - m_l(following)
        l2c1 = m_l(following) - m_c(now)
        torch.testing.assert_close(found[:, t], torch.stack([l1c2, l1l2, l2c1], 1), rtol=1e-9, atol=1e-9)
        stacked = torch.cat([now, l1c2, l1l2, l2c1], 1)
        expected = F.conv2d(stacked, state["fuse.weight"], state["fuse.bias"]).tanh()
        torch.testing.assert_close(fused[:, t], expected, rtol=1e-9, atol=1e-9)


def test_equal_frames_differ_in_their_context_alone() -> None:
    network = contrast()
    still = maps(frames=1).expand(-1, 3, -1, -1, -1)
    with torch.no_grad():
        first, middle, last = network.differences(still).unbind(2)
    assert not middle.any()
    assert torch.equal(first, last)
    assert first.abs().max() > 1e-3


def test_swapping_the_frames_negates_eq_2_and_swaps_eq_1_with_eq_3() -> None:
    network, pair = contrast(), maps(frames=2)
    with torch.no_grad():
        forth, back = network.differences(pair), network.differences(pair.flip(1))
    assert forth[:, :, 1].abs().max() > 1e-3
    torch.testing.assert_close(back[:, :, 1], -forth[:, :, 1])
    torch.testing.assert_close(back[:, :, 0], forth[:, :, 2])
    torch.testing.assert_close(back[:, :, 2], forth[:, :, 0])


def test_each_frame_is_filtered_once() -> None:
    network = contrast()
    seen: list[int] = []
    for layer in (network.local, network.context):
        layer.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    network(maps(batch=2, frames=4))
    assert seen == [8, 8]


def test_gradients_reach_every_parameter() -> None:
    network = contrast()
    torch.autograd.backward(network(maps()).square().mean())
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not dead


def test_a_wrong_dilation_names_the_key() -> None:
    with pytest.raises(MerError, match=r"network\.context_dilation=0: give 1 or more"):
        ContextContrast(channels=8, dilation=0)
