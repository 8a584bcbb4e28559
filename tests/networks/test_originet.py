import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import OrigiNet
from mer.networks.refined_relu import ACTIVATIONS
from mer.networks.same_padding import Padding
from tests.networks.formula_weights import filled, parameters

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "printed": {"head": "printed"},
    "sig": {"activation": "sigmoid"},
    "lr": {"activation": "leaky"},
    "lfc": {"head": "lfc"},
    "ks1": {"kernels": (1, 3)},
    "ks2": {"kernels": (5, 7)},
}


def build(variant: str = "full", *, size: int = 32, **options: Any) -> OrigiNet:
    return OrigiNet(in_channels=3, num_classes=8, size=size, **(VARIANTS[variant] | options))


def images(count: int = 3) -> Tensor:
    """Every layer finds an even size, so the paddings differ everywhere; in 0..4, no activation saturates."""
    torch.manual_seed(1)
    return torch.rand(count, 3, 32, 32, dtype=torch.float64) * 4


def test_the_papers_parameter_counts() -> None:
    with torch.device("meta"):
        assert parameters(build(size=128)) == 1_873_384
        # Stage 4 of eq 6 has a batch norm of 96 channels, which the released model has not.
        assert parameters(build("printed", size=128)) == 1_873_384 + 2 * 96


@pytest.mark.parametrize(
    ("variant", "recomputed", "printed"),
    [
        ("full", 1.87, 1.8),
        ("sig", 1.87, 1.8),
        ("lr", 1.87, 1.8),
        ("lfc", 0.93, 0.9),
        ("ks1", 1.66, 1.6),
        ("ks2", 2.22, 2.2),
    ],
)
def test_variants_have_the_printed_counts(variant: str, recomputed: float, printed: float) -> None:
    with torch.device("meta"):
        millions = parameters(build(variant, size=128)) / 1e6
    assert round(millions, 2) == recomputed
    assert math.floor(millions * 10) / 10 == printed  # truncated, not rounded


def test_layers_have_the_papers_sizes() -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _m, _i, out: shapes.__setitem__(name, tuple(out.shape[1:])))

    network = build(size=128)
    for name, module in network.named_modules():
        record(name, module)
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 8)
    sizes = [(16, 64, 64), (32, 32, 32), (64, 16, 16), (96, 8, 8)]
    for k, shape in enumerate(sizes):
        assert shapes[f"small.{k}"] == shapes[f"large.{k}"] == shape
    assert [shapes[f"norms.{k}"] for k in range(3)] == sizes[:3]
    assert shapes["fc.0"] == shapes["fc.1"] == (128,)


@pytest.mark.parametrize("size", [28, 33])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", ["symmetric", "keras"])
def test_sizes_channels_and_classes_are_free(size: int, variant: str, padding: Padding) -> None:
    network = OrigiNet(in_channels=1, num_classes=5, size=size, padding=padding, **VARIANTS[variant])
    with torch.no_grad():
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 5)


def test_variants_differ_only_where_they_should() -> None:
    with torch.device("meta"):
        shapes = {
            v: {name: value.shape for name, value in build(v, size=128).named_parameters()} for v in VARIANTS
        }

    def changed(variant: str) -> set[str]:
        full, other = shapes["full"], shapes[variant]
        return {name for name in full | other if full.get(name) != other.get(name)}

    def both(*names: str) -> set[str]:
        return {f"{name}.{part}" for name in names for part in ("weight", "bias")}

    assert changed("sig") == changed("lr") == set()
    assert changed("lfc") == both("large.3", "fc.1") | {"classifier.weight"}
    assert (
        changed("ks1") == changed("ks2") == {f"{x}.{k}.weight" for x in ("small", "large") for k in range(4)}
    )
    assert changed("printed") == both("norms.3", "fc.0", "fc.1")  # the two FC 128 are one FC 256


def test_the_activation_is_all_that_sig_and_lr_change() -> None:
    outputs = []
    for name, make in ACTIVATIONS.items():
        network = filled(build(activation=name)).eval()
        assert isinstance(network.activation, type(make()))
        outputs.append(network(images()))
    for k, output in enumerate(outputs):
        assert all(not torch.allclose(output, other, rtol=1e-3) for other in outputs[:k])


def reference(
    state: dict[str, Tensor], x: Tensor, *, padding: Padding, training: bool, head: str, activation: str
) -> Tensor:
    """Equations 4-10; the heads as the release has them and as eq 5 and 6 print them."""

    def psi(a: Tensor) -> Tensor:
        e = a.exp()
        if activation == "sigmoid":
            return e / (1 + e)
        if activation == "leaky":
            return a.clamp(min=0) + 0.1 * a.clamp(max=0)
        return torch.where(a < 0, (e + 0.1 * e * a) / (1 + e), (e + e * a) / (1 + e))  # eq 4

    def lane(name: str, maps: Tensor) -> Tensor:
        kernel, size = state[f"{name}.weight"].shape[-1], maps.shape[-1]
        if padding == "symmetric":
            around = [kernel // 2] * 4
        else:  # TensorFlow's rule for SAME, stride 2
            total = max(kernel - (2 if size % 2 == 0 else 1), 0)
            around = [total // 2, total - total // 2] * 2
        padded = F.pad(maps, around)
        return psi(F.conv2d(padded, state[f"{name}.weight"], state[f"{name}.bias"], 2))

    def bn(name: str, q: Tensor) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, var = q.mean((0, 2, 3)), q.var((0, 2, 3), unbiased=False)
        mean, var, gain, shift = (
            v.view(1, -1, 1, 1) for v in (mean, var, state[f"{name}.weight"], state[f"{name}.bias"])
        )
        return (q - mean) / (var + 1e-3).sqrt() * gain + shift

    def fc(name: str, features: Tensor, rows: slice = slice(None)) -> Tensor:
        return features.flatten(1) @ state[f"{name}.weight"][rows].T + state[f"{name}.bias"][rows]

    delta = total = x
    for k in range(3):  # eq 7
        total = lane(f"small.{k}", delta) + lane(f"large.{k}", delta)
        delta = bn(f"norms.{k}", total)
    if head == "lfc":
        return fc("classifier", fc("fc.0", lane("small.3", delta)))
    if head == "authors":
        left, right = fc("fc.0", lane("small.3", delta)), fc("fc.1", lane("large.3", total))
    else:
        xi = bn("norms.3", lane("small.3", delta) + lane("large.3", delta))  # eq 6
        left, right = fc("fc.0", xi, slice(0, 128)), fc("fc.0", xi, slice(128, 256))  # eq 5
    return fc("classifier", torch.cat([left, right], 1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", ["symmetric", "keras"])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_equations(variant: str, padding: Padding, training: bool) -> None:
    network = filled(build(variant, padding=padding)).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    activation = VARIANTS[variant].get("activation", "refined")
    with torch.no_grad():
        expected = reference(
            state, images(), padding=padding, training=training, head=network.head, activation=activation
        )
        ours = network(images())
    assert expected.std() > 1e-3  # the images matter
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_the_paddings_are_two_networks_on_even_sizes() -> None:
    ours, theirs = (filled(build(padding=padding)).eval() for padding in ("symmetric", "keras"))
    assert not torch.allclose(ours(images()), theirs(images()), rtol=1e-3)


@pytest.mark.parametrize(("options", "weight"), [({}, 0.01), ({"norm_momentum": 0.2}, 0.2)])
def test_a_batch_moves_the_running_statistics_by_its_weight(options: dict[str, Any], weight: float) -> None:
    network = filled(build(**options))
    norm = network.norms[0]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    with torch.no_grad():
        total = sum(network.activation(convs[0](images())) for convs in (network.small, network.large))
        network.train()(images())
    torch.testing.assert_close(norm.running_mean, (1 - weight) * before + weight * total.mean((0, 2, 3)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant: str) -> None:
    network = filled(build(variant))
    torch.autograd.backward(F.cross_entropy(network(images(4)), torch.tensor([0, 1, 2, 3])))
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-12, name


def test_channels_last_is_the_same_network() -> None:
    network = filled(build()).eval()
    expected = network(images())
    network.to(memory_format=torch.channels_last)
    ours = network(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_folds_side_by_side_have_their_own_gradients() -> None:
    torch.manual_seed(0)
    networks = [build().double() for _ in range(2)]
    batch, targets = images(6).view(2, 3, 3, 32, 32), torch.tensor([[0, 1, 2], [3, 4, 5]])

    def loss(weights: dict[str, Tensor], state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(networks[0], (weights, state), (x,)), y)

    weights, state = stack_module_state(networks)
    gradients = vmap(grad(loss))(weights, state, batch, targets)
    for k, network in enumerate(networks):
        torch.autograd.backward(F.cross_entropy(network(batch[k]), targets[k]))
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[name][k], parameter.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("head", ["authors", "printed", "lfc"])
def test_overfits_eight_images(head: str) -> None:
    torch.manual_seed(0)
    batch, targets = images(8).float(), torch.arange(8)
    network = build(head=head, norm_momentum=0.2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(batch), targets))
        optimizer.step()
    assert (network.eval()(batch).argmax(1) == targets).all()


def test_wrong_options_name_the_key() -> None:
    for options, message in (
        ({"size": -1}, r"network\.size=-1: give the side"),
        ({"kernels": [3, 5, 7]}, r"network\.kernels=\[3, 5, 7\]: give two"),
        ({"kernels": [2, 3]}, r"2x2: give an odd size"),
        ({"head": "other"}, r"network\.head='other': choose one of authors, printed, lfc"),
        ({"activation": "rrelu"}, r"network\.activation='rrelu': choose one of sigmoid, .*, refined"),
        ({"padding": "same"}, r"network\.padding='same'"),
        ({"norm_momentum": 1.5}, r"network\.norm_momentum=1\.5"),
    ):
        with pytest.raises(MerError, match=message):
            OrigiNet(in_channels=3, num_classes=4, **options)


@pytest.mark.parametrize("shape", [(28, 128), (128, 30)])
def test_images_of_another_size_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(
        MerError, match=rf"128x128, not {shape[0]}x{shape[1]}: set network\.size to encoding\.size"
    ):
        OrigiNet(in_channels=3, num_classes=4)(torch.zeros(1, 3, *shape))


def test_the_config_holds_the_papers_network() -> None:
    config = OmegaConf.load(Path(__file__).parents[2] / "conf/network/originet.yaml")
    defaults = inspect.signature(OrigiNet).parameters.values()
    plain = {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in defaults}
    assert OmegaConf.to_container(config) == {
        "_target_": "mer.networks.OrigiNet",
        **{name: default for name, default in plain.items() if default is not inspect.Parameter.empty},
    }
