from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.visual_memory import ConvGRU, Memory, VisualMemory
from tests.networks.formula_weights import filled, parameters

KINDS: tuple[Memory, ...] = get_args(Memory)
by_kind = pytest.mark.parametrize("kind", KINDS)


def build(kind: Memory) -> VisualMemory:
    torch.manual_seed(0)
    return VisualMemory(in_channels=5, size=4, hidden=8, memory=kind).double()


def maps(batch: int = 2, steps: int = 6) -> Tensor:
    draw = torch.Generator().manual_seed(4)
    return torch.randn((batch, steps, 5, 4, 4), generator=draw, dtype=torch.float64)


def test_parameters_at_the_papers_width() -> None:
    squeeze = 129 * 256 + 256
    vector = (256 * 8 * 8 * 256 + 256) + (256 * 256 + 256)
    expected = {
        "gru": squeeze + vector + 3 * (2 * 256 * 256 + 2 * 256),  # torch's GRU has two biases a gate
        "none": squeeze + vector + 256 * 256 + 256,
        "convgru": squeeze + 6 * 7 * 7 * 256 * 256 + 3 * 256,
    }
    with torch.device("meta"):
        assert {k: parameters(VisualMemory(in_channels=129, size=8, memory=k)) for k in KINDS} == expected


@by_kind
def test_shapes(kind: Memory) -> None:
    vectors, state = build(kind)(maps())
    assert vectors.shape == (2, 6, 8)
    expected = {"gru": (2, 8), "convgru": (2, 8, 4, 4), "none": None}[kind]
    assert (None if state is None else tuple(state.shape)) == expected


@by_kind
def test_a_carried_state_makes_pieces_one(kind: Memory) -> None:
    memory, sequence = build(kind), maps()
    with torch.no_grad():
        whole, last = memory(sequence)
        state, pieces = None, []
        for piece in torch.split(sequence, [1, 3, 2], dim=1):
            vectors, state = memory(piece, state)
            pieces.append(vectors)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state, last, rtol=1e-9, atol=1e-9)


@by_kind
def test_what_it_remembers(kind: Memory) -> None:
    """A step depends on its past, or without memory on itself alone, and never on what follows."""
    memory, sequence = build(kind), maps()
    other = sequence.clone()
    other[:, 2] += 1
    with torch.no_grad():
        change = (memory(sequence)[0] - memory(other)[0]).abs().amax((0, 2))
    assert not change[:2].any()
    assert change[2] > 1e-6
    assert bool((change[3:] > 1e-9).all()) == (kind != "none")
    assert bool(change[3:].any()) == (kind != "none")


def test_gru_is_torchs_cell_after_two_fc() -> None:
    memory, sequence = build("gru"), maps()
    state = memory.state_dict()
    cell = nn.GRUCell(8, 8).double()
    cell.load_state_dict({name: state[f"gru.{name}_l0"] for name in cell.state_dict()})
    hidden, expected = torch.zeros(2, 8, dtype=torch.float64), []
    with torch.no_grad():
        for t in range(6):
            x = F.conv2d(sequence[:, t], state["squeeze.0.weight"], state["squeeze.0.bias"]).clamp(min=0)
            for k in (1, 3):
                x = F.linear(x.flatten(1), state[f"vector.{k}.weight"], state[f"vector.{k}.bias"]).clamp(
                    min=0
                )
            hidden = cell(x, hidden)
            expected.append(hidden)
        found, last = memory(sequence)
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-9, atol=1e-9)
    assert torch.equal(found[:, -1], last)


def test_convgru_is_its_equations() -> None:
    network = filled(ConvGRU(channels=3, kernel=7))
    state = network.state_dict()
    w_xz, w_xr, w_xc = state["input.weight"].chunk(3)
    b_z, b_r, b_c = state["input.bias"].chunk(3)
    w_hz, w_hr = state["gates.weight"].chunk(2)
    sequence = maps()[:, :, :3]

    def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(x, weight, bias, padding=3)

    h, expected = torch.zeros(2, 3, 4, 4, dtype=torch.float64), []
    for t in range(6):
        x = sequence[:, t]
        z = (product(x, w_xz, b_z) + product(h, w_hz)).sigmoid()
        r = (product(x, w_xr, b_r) + product(h, w_hr)).sigmoid()
        c = (product(x, w_xc, b_c) + product(r * h, state["candidate.weight"])).tanh()
        h = (1 - z) * h + z * c
        expected.append(h)
    with torch.no_grad():
        found = network(sequence)
    assert found.std() > 1e-3
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-9, atol=1e-9)


def test_convgru_gives_the_average_of_its_state() -> None:
    with torch.no_grad():
        vectors, state = build("convgru")(maps())
    assert state is not None
    torch.testing.assert_close(vectors[:, -1], state.mean((-2, -1)), rtol=1e-9, atol=1e-9)


@by_kind
def test_gradients_reach_every_parameter(kind: Memory) -> None:
    memory = build(kind)
    torch.autograd.backward(memory(maps())[0].square().sum())
    dead = [name for name, value in memory.named_parameters() if value.grad is None or not value.grad.any()]
    assert not dead


def test_grus_keep_torchs_initialisation() -> None:
    """Xavier would leave its biases 0, and torch's GRU within 1 / sqrt(hidden)."""
    gru, convgru = dict(build("gru").gru.named_parameters()), build("convgru").convgru
    assert gru["bias_hh_l0"].abs().min() > 0
    assert gru["weight_hh_l0"].abs().max() <= 8**-0.5
    assert convgru.input.bias is not None
    assert convgru.input.bias.abs().min() > 0


def test_another_memory_is_refused() -> None:
    with pytest.raises(MerError, match=r"network\.memory='lstm': choose one of gru, convgru, none"):
        VisualMemory(in_channels=5, size=4, memory="lstm")  # type: ignore[arg-type]
