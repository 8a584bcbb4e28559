import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet
from tests.networks.formula_weights import draw_images, parameters

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "convgru": {"memory": "convgru"},
    "no memory": {"memory": "none"},
    "no contrast": {"contrast": False},
    "no frames": {"spatial": False},
    "no flow": {"temporal": False},
    "batch norm": {"norm": "batch"},
}
by_variant = pytest.mark.parametrize("variant", VARIANTS)


def build(variant: str = "full", *, size: int = 32, **options: Any) -> TimeContrastNet:
    """Small, and with weights that let every frame matter: the signal keeps its spread through 14 ReLUs."""
    torch.manual_seed(0)
    network = TimeContrastNet(num_classes=3, size=size, width=1 / 8, **(VARIANTS[variant] | options))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.weight.mul_(2**0.5)
    return network.eval()


def sequences(batch: int = 2, frames: int = 7, size: int = 32, seed: int = 0) -> Tensor:
    """Frames of noise, and flow of about a pixel."""
    colours = draw_images(batch, frames, 3, size, size, seed=seed)
    return torch.cat([colours, draw_images(batch, frames, 2, size, size, seed=seed + 1) / 128 - 1], dim=2)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@by_variant
@pytest.mark.parametrize("size", [32, 64])
def test_one_step_a_pair(variant: str, size: int) -> None:
    with torch.no_grad():
        steps = build(variant, size=size)(sequences(frames=4, size=size))
    assert steps.logits.shape == (2, 3, 3)
    assert steps.intensity.shape == (2, 3)
    assert steps.intensity.min() > 0
    assert steps.intensity.max() < 1
    assert (steps.state is None) == (variant == "no memory")
    assert (steps.intensity[0] - steps.intensity[1]).abs().max() > 1e-4  # the sequence matters


# At width 1 and 64x64: the layers' formulas, whose parts the tests of the parts derive as well.
SPATIAL = 14_714_688 + (9 * 512 * 1024 + 1024) + (1024 * 6 + 6)  # VGG-16's convolutions, fc6, the head
REDUCE = (1024 * 128 + 128) + (128 * 128 + 128)
CONTRAST = 2 * (9 * 128 * 128 + 128) + (4 * 128 * 128 + 128)
TEMPORAL = 4_506_497
VECTOR = (256 * 64 * 256 + 256) + (256 * 256 + 256)
GRU = 3 * (2 * 256 * 256 + 2 * 256)
HEADS = 2 * (256 * 256 + 256) + (256 * 5 + 5) + (256 + 1)


def squeeze(channels: int) -> int:
    return channels * 256 + 256


FULL = SPATIAL + REDUCE + CONTRAST + TEMPORAL + squeeze(129) + VECTOR + GRU + HEADS


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("full", FULL),
        ("convgru", FULL - VECTOR - GRU + 6 * 49 * 256 * 256 + 3 * 256),
        ("no memory", FULL - GRU + 256 * 256 + 256),
        ("no contrast", FULL - CONTRAST),
        ("no frames", FULL - SPATIAL - REDUCE - CONTRAST - squeeze(129) + squeeze(1)),
        ("no flow", FULL - TEMPORAL - squeeze(129) + squeeze(128)),
        ("batch norm", FULL + 2 * (64 + 128) + 3 * 256 + 6 * 512 + 1024),  # a gain a channel
    ],
)
def test_parameters_at_the_papers_width(variant: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(TimeContrastNet(num_classes=5, **VARIANTS[variant])) == count


@by_variant
def test_no_step_sees_a_later_frame(variant: str) -> None:
    network, sequence = build(variant).double(), sequences().double()
    other = sequence.clone()
    other[:, 4:, :3] = 255 - other[:, 4:, :3]  # the frames after step 2, which reads 2 and 3
    other[:, 3:, 3:] *= -1  # and the flow after it
    with torch.no_grad():
        before, after = network(sequence), network(other)
    torch.testing.assert_close(after.logits[:, :3], before.logits[:, :3], rtol=0, atol=1e-12)
    torch.testing.assert_close(after.intensity[:, :3], before.intensity[:, :3], rtol=0, atol=1e-12)
    assert (after.intensity[:, 3] - before.intensity[:, 3]).abs().max() > 1e-6


def test_the_last_flow_is_not_read() -> None:
    network, sequence = build(), sequences()
    other = sequence.clone()
    other[:, -1, 3:] = 0
    with torch.no_grad():
        assert_same(network(other).intensity, network(sequence).intensity)


@by_variant
def test_windows_with_a_carried_state_are_one_piece(variant: str) -> None:
    network, sequence = build(variant), sequences(frames=9)
    with torch.no_grad():
        whole = network(sequence)
        state, logits, intensity = None, [], []
        for first, last in ((0, 3), (3, 4), (4, 8)):
            steps = network(sequence[:, first : last + 1], state)
            state = steps.state
            logits.append(steps.logits)
            intensity.append(steps.intensity)
        afresh = network(sequence[:, 4:])
    assert_same(torch.cat(logits, 1), whole.logits)
    assert_same(torch.cat(intensity, 1), whole.intensity)
    if state is None:
        assert variant == "no memory"
        return
    assert whole.state is not None
    assert_same(state, whole.state)
    assert (afresh.intensity - whole.intensity[:, 4:]).abs().max() > 1e-4  # the state matters


@by_variant
def test_a_padded_batch_is_its_clips_one_by_one(variant: str) -> None:
    network, lengths = build(variant), (7, 2, 5)
    clips = [sequences(1, length, seed=10 * length) for length in lengths]
    batch = torch.zeros(3, 7, 5, 32, 32)
    for row, clip in enumerate(clips):
        batch[row, : clip.shape[1]] = clip[0]
    with torch.no_grad():
        padded = network(batch)
        for row, clip in enumerate(clips):
            alone = network(clip)
            assert_same(padded.logits[row, : clip.shape[1] - 1], alone.logits[0])
            assert_same(padded.intensity[row, : clip.shape[1] - 1], alone.intensity[0])


@by_variant
def test_gradients_reach_every_parameter_in_its_stage(variant: str) -> None:
    network, sequence = build(variant).train(), sequences(frames=4)
    steps = network(sequence)
    torch.autograd.backward(steps.logits.square().sum() + steps.intensity.sum())
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    head = [] if variant == "no frames" else ["spatial.classifier.weight", "spatial.classifier.bias"]
    assert dead == head
    if head:
        torch.autograd.backward(network.frame_logits(sequence[:, 0, :3]).square().sum())
        assert all(network.get_parameter(name).grad is not None for name in head)


def test_a_frame_is_seen_once() -> None:
    network, seen = build(), []
    assert network.spatial is not None
    network.spatial.fc6.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    network(sequences(batch=2, frames=7))
    assert seen == [2 * 7]


def test_stage_1_trains_the_two_networks_themselves() -> None:
    network, sequence = build(), sequences()
    frames, flow = sequence[:, 0, :3], sequence[:, 0, 3:]
    assert network.spatial is not None
    assert network.temporal is not None
    with torch.no_grad():
        assert network.frame_logits(frames).shape == (2, 3 + 1)
        assert torch.equal(network.frame_logits(frames), network.spatial(frames))
        assert network.motion_logits(flow).shape == (2, 1, 8, 8)
        assert torch.equal(network.motion_logits(flow), network.temporal(flow))


def test_what_is_frozen_does_not_move_in_stage_2() -> None:
    network = build("batch norm").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.freeze_pretrained()
    assert network.training
    optimizer = torch.optim.RMSprop([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    steps = network.eval().train()(sequences())
    torch.autograd.backward(steps.logits.square().sum() + steps.intensity.sum())
    optimizer.step()
    moved = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert {name.split(".")[0] for name in moved} == {
        "reduce",
        "contrast",
        "memory",
        "class_head",
        "intensity_head",
    }
    assert {n for n, p in network.named_parameters() if p.requires_grad} <= moved


@pytest.mark.parametrize("variant", ["full", "no contrast"])
def test_the_motion_map_is_halved_by_averages_and_the_maps_stand_side_by_side(variant: str) -> None:
    """What the memory is given: the fused maps, or those of frame t, then the likelihood of motion."""
    network, sequence, given = build(variant), sequences(), []
    network.memory.register_forward_hook(lambda _m, inputs, _o: given.append(inputs[0]))
    assert network.spatial is not None
    assert network.reduce is not None
    with torch.no_grad():
        network(sequence)
        motion = torch.stack([network.motion_logits(sequence[:, t, 3:]) for t in range(6)], 1).sigmoid()
        halves = motion.unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).mean((-1, -3))  # type: ignore[no-untyped-call]
        frames = [network.reduce(network.spatial.features(sequence[:, t, :3])) for t in range(7)]
        fused = torch.stack(frames, 1)
        fused = fused[:, :-1] if network.contrast is None else network.contrast(fused)
    channels = 128 // 8
    assert given[0].shape == (2, 6, channels + 1, 4, 4)
    assert_same(given[0][:, :, :channels], fused)
    assert_same(given[0][:, :, channels:], halves)


def test_contrast_maps_are_the_three_equations() -> None:
    network, sequence = build(), sequences()
    sequence[:, 3] = sequence[:, 2]  # a pair that stands still
    with torch.no_grad():
        maps = network.contrast_maps(sequence)
    assert maps.shape == (2, 6, 3, 128 // 8, 4, 4)
    spread = maps[:, :, 1].abs().amax((0, 2, 3, 4))
    assert spread[2] < 1e-5
    assert spread[[0, 1, 3, 4, 5]].min() > 1e-2


def test_learns_when_something_moves() -> None:
    """A patch that changes in some pairs, by the paper's optimiser: the intensity tells which."""
    torch.manual_seed(0)
    network = TimeContrastNet(num_classes=2, size=32, width=1 / 8, norm="batch", temporal=False)
    sequence = draw_images(4, 1, 5, 32, 32).repeat(1, 6, 1, 1, 1)
    moving = torch.tensor([[0, 1, 0, 0, 1], [1, 1, 0, 1, 0], [0, 0, 1, 1, 0], [1, 0, 1, 0, 0]]).bool()
    for row, step in moving.nonzero().tolist():
        sequence[row, step + 1 :, :3, 8:24, 8:24] = draw_images(3, 16, 16, seed=10 * row + step)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-4)
    for _ in range(40):
        optimizer.zero_grad()
        intensity = network(sequence).intensity
        torch.autograd.backward(F.l1_loss(intensity, moving.float()))
        optimizer.step()
    assert torch.equal(intensity > 0.5, moving)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 3}, r"not 3 channels: set encoding=frames_and_flow"),
        ({"size": 28}, r"network\.size=28: give the side of the frames, a multiple of 16"),
        ({"size": 0}, r"network\.size=0"),
        ({"spatial": False, "temporal": False}, r"network\.spatial=false and network\.temporal=false"),
        ({"memory": "lstm"}, r"network\.memory='lstm'"),
        ({"norm": "layer"}, r"network\.norm='layer'"),
        ({"width": 0}, r"network\.width=0"),
        ({"fc6_dilation": 0}, r"network\.fc6_dilation=0"),
        ({"context_dilation": 0}, r"network\.context_dilation=0"),
        ({"weights": "imagenet", "width": 0.5}, r"network\.weights=imagenet"),
        ({"weights": "imagenet"}, r"vgg16-397923af\.pth: no such weight file.*put https://\S+ there"),
    ],
)
def test_wrong_options_name_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        TimeContrastNet(num_classes=3, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 5, 64, 32), r"32x32, not 64x32: set network\.size to encoding\.size"),
        ((1, 3, 3, 32, 32), r"not \(1, 3, 3, 32, 32\): set encoding=frames_and_flow"),
        ((3, 5, 32, 32), r"sequences \(B, T, 5, H, W\), not \(3, 5, 32, 32\)"),
        ((1, 1, 5, 32, 32), r"give two frames or more"),
    ],
)
def test_sequences_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    network = build()
    for method in (network, network.contrast_maps):
        with pytest.raises(MerError, match=message):
            method(torch.zeros(shape))


def test_what_was_left_out_cannot_be_asked() -> None:
    sequence = sequences()
    for variant, method, given, message in (
        ("no frames", "frame_logits", sequence[:, 0, :3], r"network\.spatial=false: .* train on frames"),
        ("no flow", "motion_logits", sequence[:, 0, 3:], r"network\.temporal=false: .* train on flow"),
        ("no frames", "contrast_maps", sequence, r"there are no contrast maps"),
        ("no contrast", "contrast_maps", sequence, r"network\.contrast=false"),
    ):
        with pytest.raises(MerError, match=message):
            getattr(build(variant), method)(given)


def test_the_config_holds_the_papers_network() -> None:
    config = OmegaConf.load(Path(__file__).parents[2] / "conf/network/time_contrast.yaml")
    defaults = {p.name: p.default for p in inspect.signature(TimeContrastNet).parameters.values()}
    assert OmegaConf.to_container(config) == {
        "_target_": "mer.networks.TimeContrastNet",
        **{name: value for name, value in defaults.items() if name not in ("in_channels", "num_classes")},
    }
