import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks import AffectiveNet
from mer.networks.same_padding import Padding
from tests.networks.formula_weights import filled, parameters

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "ks1": {"encap_kernels": (5, 7)},
    "ks2": {"encap_kernels": (7, 11)},
    "lfc": {"mfl": "lfc"},
    "womfl": {"mfl": "no_fc"},
    "womfl, MICRoFeat alone": {"mfl": "none"},
    "3x3": {"stream_kernels": (3, 3, 3, 3), "encap_kernels": (3, 3)},
    "1x1": {"stream_kernels": (1, 5, 7, 11), "encap_kernels": (1, 5), "refine_kernel": 1},
}


def build(variant: str = "full", *, size: int = 32, **options: Any) -> AffectiveNet:
    return AffectiveNet(in_channels=3, num_classes=4, size=size, **(VARIANTS[variant] | options))


def images(count: int = 3) -> Tensor:
    """Of a size that every layer finds even, so that the paddings differ everywhere."""
    torch.manual_seed(1)
    return torch.rand(count, 3, 32, 32, dtype=torch.float64) * 255


def test_the_papers_parameter_count() -> None:
    with torch.device("meta"):
        assert parameters(build(size=112)) == 2_271_296


@pytest.mark.parametrize(
    ("variant", "recomputed", "printed"),
    [
        ("full", 2.27, 2.2),
        ("ks1", 2.35, 2.3),
        ("ks2", 2.55, 2.5),
        ("lfc", 1.12, 1.1),
        ("womfl", 1.03, 1.0),
        ("womfl, MICRoFeat alone", 0.96, None),
        ("3x3", 2.23, None),  # the paper prints 2.1, which no reading gives
        ("1x1", 2.19, 2.1),
    ],
)
def test_variants_have_the_printed_counts(variant: str, recomputed: float, printed: float | None) -> None:
    with torch.device("meta"):
        millions = parameters(build(variant, size=112)) / 1e6
    assert round(millions, 2) == recomputed
    assert printed is None or math.floor(millions * 10) / 10 == printed  # truncated, not rounded


def test_layers_have_the_papers_sizes() -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _m, _i, out: shapes.__setitem__(name, tuple(out.shape[1:])))

    network = build(size=112)
    for name, module in network.named_modules():
        record(name, module)
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 112, 112)).shape == (2, 4)
    for stream in range(4):
        assert shapes[f"streams.{stream}.0"] == (16, 112, 112)
        assert shapes[f"streams.{stream}.2.small"] == shapes[f"streams.{stream}.2.large"] == (32, 56, 56)
        assert shapes[f"streams.{stream}.2"] == (64, 28, 28)
    assert shapes["norm"] == (256, 28, 28)
    assert (shapes["conv2"], shapes["conv3.0"], shapes["conv3"]) == ((184, 14, 14), (128, 7, 7), (196, 4, 4))
    assert (shapes["fc2"], shapes["fc3"], shapes["feature_norm"]) == ((32,), (32,), (64,))


@pytest.mark.parametrize("size", [28, 33])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", ["symmetric", "keras"])
def test_sizes_channels_and_classes_are_free(size: int, variant: str, padding: Padding) -> None:
    network = AffectiveNet(in_channels=1, num_classes=5, size=size, padding=padding, **VARIANTS[variant])
    with torch.no_grad():
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 5)


def changed(variant: str) -> set[str]:
    """Parameters that the full network lacks, or has in another shape, and the reverse."""
    with torch.device("meta"):
        full, other = (
            {name: value.shape for name, value in build(v, size=112).named_parameters()}
            for v in ("full", variant)
        )
    return {name for name in full | other if full.get(name) != other.get(name)}


def weights(pattern: str, *numbers: int) -> set[str]:
    return {pattern.format(k) + ".weight" for k in numbers}


def both(*names: str) -> set[str]:
    return {f"{name}.{part}" for name in names for part in ("weight", "bias")}


def test_variants_differ_only_where_they_should() -> None:
    small, large = (weights(f"streams.{{}}.2.{lane}", 0, 1, 2, 3) for lane in ("small", "large"))
    assert changed("ks1") == changed("ks2") == small | large
    assert changed("3x3") == large | weights("streams.{}.0", 1, 2, 3)
    refine = weights("streams.{}.2.refine", 0, 1, 2, 3)
    assert changed("1x1") == small | refine | weights("streams.{}.0", 0)
    assert changed("lfc") == both("fc2", "feature_norm") | {"classifier.weight"}
    fcs = both("fc2", "fc3", "feature_norm") | {"classifier.weight"}
    assert changed("womfl") == fcs
    assert changed("womfl, MICRoFeat alone") == fcs | both("conv2", "conv3.0", "conv3.2")


def reference(state: dict[str, Tensor], x: Tensor, *, padding: Padding, training: bool, mfl: str) -> Tensor:
    """Equations 6-16, with a ReLU after each convolution."""

    def epsilon(name: str, maps: Tensor, stride: int) -> Tensor:
        kernel, size = state[f"{name}.weight"].shape[-1], maps.shape[-1]
        if padding == "symmetric":
            around = [kernel // 2] * 4
        else:  # TensorFlow's rule for SAME
            total = max(kernel - (stride if size % stride == 0 else size % stride), 0)
            around = [total // 2, total - total // 2] * 2
        padded = F.pad(maps, around)
        return F.conv2d(padded, state[f"{name}.weight"], state[f"{name}.bias"], stride).clamp(min=0)

    def beta(name: str, q: Tensor) -> Tensor:
        over = [0, *range(2, q.ndim)]
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, var = q.mean(over), q.var(over, unbiased=False)
        mean, var, gain, shift = (
            v.view(1, -1, *[1] * (q.ndim - 2))
            for v in (mean, var, state[f"{name}.weight"], state[f"{name}.bias"])
        )
        return (q - mean) / (var + 1e-3).sqrt() * gain + shift

    def fc(name: str, maps: Tensor) -> Tensor:
        return maps.flatten(1) @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    parts = []
    for i in range(4):
        fm = epsilon(f"streams.{i}.0", x, 1)  # eq 6
        f1, f2 = epsilon(f"streams.{i}.2.small", fm, 2), epsilon(f"streams.{i}.2.large", fm, 2)  # eq 10
        parts.append(epsilon(f"streams.{i}.2.refine", f1 + f2, 2))  # eq 9
    micro = beta("norm", torch.cat(parts, 1))  # eq 11 and the inner part of eq 15
    if mfl == "none":
        return fc("classifier", micro)
    fm2 = epsilon("conv2", micro, 2)  # eq 15
    fm3 = epsilon("conv3.2", epsilon("conv3.0", fm2, 2), 2)  # eq 16
    if mfl == "no_fc":
        return fc("classifier", fm3)
    fv = fc("fc3", fm3) if mfl == "lfc" else torch.cat([fc("fc2", fm2), fc("fc3", fm3)], 1)  # eq 13, 14
    return fc("classifier", beta("feature_norm", fv))  # eq 12


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("padding", ["symmetric", "keras"])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_the_equations(variant: str, padding: Padding, training: bool) -> None:
    network = filled(build(variant, padding=padding)).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        expected = reference(state, images(), padding=padding, training=training, mfl=network.mfl)
        ours = network(images())
    assert expected.std() > 1e-3  # the images matter
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_the_paddings_are_two_networks_on_even_sizes() -> None:
    ours, theirs = (filled(build(padding=padding)).eval() for padding in ("symmetric", "keras"))
    assert not torch.allclose(ours(images()), theirs(images()), rtol=1e-3)


@pytest.mark.parametrize(("options", "weight"), [({}, 0.01), ({"norm_momentum": 0.2}, 0.2)])
def test_a_batch_moves_the_running_statistics_by_its_weight(options: dict[str, Any], weight: float) -> None:
    network = filled(build(**options))
    before = network.norm.running_mean.clone()  # type: ignore[union-attr]
    with torch.no_grad():
        maps = torch.cat([stream(images()) for stream in network.streams], 1)
        network.train()(images())
    moved = (1 - weight) * before + weight * maps.mean((0, 2, 3))
    torch.testing.assert_close(network.norm.running_mean, moved)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant: str) -> None:
    network = filled(build(variant))
    torch.autograd.backward(F.cross_entropy(network(images(4)), torch.tensor([0, 1, 2, 3])))
    dead = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-12
    }
    # The paper's: a batch norm right after an FC takes its bias away again.
    cancelled = {"full": {"fc2.bias", "fc3.bias"}, "lfc": {"fc3.bias"}}
    mfl = VARIANTS[variant].get("mfl", "full")
    assert dead == cancelled.get(mfl, set())


def test_channels_last_is_the_same_network() -> None:
    network = filled(build()).eval()
    expected = network(images())
    network.to(memory_format=torch.channels_last)
    ours = network(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_overfits_eight_images() -> None:
    torch.manual_seed(0)
    batch, targets = images(8).float(), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    network = build(norm_momentum=0.2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(batch), targets))
        optimizer.step()
    assert (network.eval()(batch).argmax(1) == targets).all()


def test_wrong_options_name_the_key() -> None:
    for options, message in (
        ({"size": 0}, r"network\.size=0: give the side"),
        ({"stream_kernels": ()}, r"network\.stream_kernels=\[\]"),
        ({"stream_kernels": (3, 4)}, r"4x4: give an odd size"),
        ({"encap_kernels": [3]}, r"network\.encap_kernels=\[3\]: give two"),
        ({"mfl": "half"}, r"network\.mfl='half': choose one of full, lfc, no_fc, none"),
        ({"padding": "same"}, r"network\.padding='same'"),
        ({"norm_momentum": 0.0}, r"network\.norm_momentum=0\.0"),
    ):
        with pytest.raises(MerError, match=message):
            AffectiveNet(in_channels=3, num_classes=4, **options)


@pytest.mark.parametrize("shape", [(28, 112), (112, 30)])
def test_images_of_another_size_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(
        MerError, match=rf"112x112, not {shape[0]}x{shape[1]}: set network\.size to encoding\.size"
    ):
        AffectiveNet(in_channels=3, num_classes=4)(torch.zeros(1, 3, *shape))


def test_the_config_holds_the_papers_network() -> None:
    config = OmegaConf.load(Path(__file__).parents[2] / "conf/network/affectivenet.yaml")
    defaults = inspect.signature(AffectiveNet).parameters.values()
    plain = {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in defaults}
    assert OmegaConf.to_container(config) == {
        "_target_": "mer.networks.AffectiveNet",
        **{name: default for name, default in plain.items() if default is not inspect.Parameter.empty},
    }
