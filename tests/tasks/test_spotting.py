from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader

from mer.errors import MerError
from mer.networks.time_contrast import TimeContrastNet
from mer.tasks import Spotting
from mer.tasks.epoch_log import EpochLog
from mer.tasks.spotting import class_loss, score_videos
from mer.trainer import make_trainer, quiet_lightning

SIZE = 32


def network(**options: Any) -> TimeContrastNet:
    torch.manual_seed(0)
    return TimeContrastNet(num_classes=3, size=SIZE, width=1 / 16, **options)


def frames(*shape: int, seed: int = 0) -> Tensor:
    """Random frames (..., 5, SIZE, SIZE): 0..255, and a flow of about a pixel."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.rand(*shape, 5, SIZE, SIZE, generator=generator) * 255
    made[..., 3:, :, :] = made[..., 3:, :, :] / 128 - 1
    return made


def batch(lengths: list[int], steps: int) -> dict[str, Tensor]:
    """Stretches of which some end early; from there on only ``real`` says that they do."""
    real = torch.arange(steps) < torch.tensor(lengths)[:, None]
    generator = torch.Generator().manual_seed(1)
    inside = torch.rand(len(lengths), steps, generator=generator) < 0.7
    expression = torch.where(inside, torch.arange(len(lengths))[:, None], -1)
    return {
        "frames": frames(len(lengths), steps + 1),
        "real": real,
        "intensity": torch.where(inside, torch.rand(len(lengths), steps, generator=generator), 0.0),
        "inside": inside,
        "expression": expression,
        "target": torch.where(inside, torch.arange(len(lengths))[:, None] % 3, -1),
    }


# --- the losses ---


def test_class_loss_is_that_of_each_expressions_mean_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, 3, generator=generator)
    target = torch.tensor([[-1, 0, 0, -1, 2, 2], [1, 1, 1, -1, -1, 0]])
    expression = torch.tensor([[-1, 4, 4, -1, 7, 7], [3, 3, 3, -1, -1, 5]])
    real = torch.ones(2, 6, dtype=torch.bool)
    real[1, 5] = False
    softmax = logits.softmax(dim=2)
    each = [softmax[0, 1:3].mean(0)[0], softmax[0, 4:6].mean(0)[2], softmax[1, :3].mean(0)[1]]
    assert_close(class_loss(logits, target, expression, real), -torch.stack(each).log().mean())
    weights = torch.tensor([0.5, 2.0, 1.0])
    weighted = -(0.5 * each[0].log() + 1.0 * each[1].log() + 2.0 * each[2].log()) / 3.5
    assert_close(class_loss(logits, target, expression, real, weights), weighted)


def test_one_expression_in_two_stretches_counts_in_each() -> None:
    logits = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    same = torch.zeros(2, 3, dtype=torch.int64)
    softmax = logits.softmax(dim=2).mean(dim=1)[:, 0]
    found = class_loss(logits, same, same, torch.ones(2, 3, dtype=torch.bool))
    assert_close(found, -softmax.log().mean())


def test_without_an_expression_the_class_loss_is_0_and_has_a_gradient() -> None:
    logits = torch.randn(1, 4, 3, requires_grad=True)
    none = torch.full((1, 4), -1)
    loss = class_loss(logits, none, none, torch.ones(1, 4, dtype=torch.bool))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_an_undefined_intensity_is_left_out_of_its_loss_only() -> None:
    task = Spotting(network())
    known = batch([4, 4], 4)
    logits, intensity = torch.zeros(2, 4, 3), torch.full((2, 4), 0.5)
    full = task.losses(logits, intensity, known)
    known["intensity"] = known["intensity"].clone()
    known["intensity"][0] = float("nan")
    part = task.losses(logits, intensity, known)
    assert part["train_class_loss"] == full["train_class_loss"]
    assert_close(part["train_intensity_loss"], (known["intensity"][1] - 0.5).abs().mean())
    known["intensity"][1] = float("nan")
    assert task.losses(logits, intensity, known)["train_intensity_loss"] == 0


def test_padding_never_leaks_into_a_loss_or_a_gradient() -> None:
    """Whatever stands behind a video's end, losses and gradients are the same bytes."""
    found = []
    for fill in (0.0, 200.0):
        task = Spotting(network()).eval()
        data = batch([3, 6], 6)
        data["frames"][0, 4:] = fill
        for name, value in (("intensity", fill / 255), ("target", int(fill) % 3), ("inside", fill > 0)):
            data[name][0, 3:] = value
        data["expression"][0, 3:] = 9
        steps = task.network(data["frames"])
        loss = task.losses(steps.logits, steps.intensity, data)["train_loss"]
        pretraining = task.pretrain_loss(data)
        (loss + pretraining).backward()  # type: ignore[no-untyped-call]
        weights = [p.grad for p in task.network.parameters() if p.grad is not None]
        found.append((loss.detach(), pretraining.detach(), torch.cat([w.flatten() for w in weights])))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


# --- training ---


class Batches(pl.LightningDataModule):
    def __init__(self, *batches: dict[str, Tensor]) -> None:
        super().__init__()
        self.batches = list(batches)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]  # a list is a dataset


def weights(task: Spotting) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in task.network.state_dict().items()}


def fit(task: Spotting, epochs: int, *batches: dict[str, Tensor]) -> EpochLog:
    log = EpochLog()
    with quiet_lightning():
        make_trainer(epochs, log).fit(task, datamodule=Batches(*batches))
    return log


def test_stage_1_trains_the_two_networks_and_stage_2_all_else() -> None:
    task = Spotting(network(norm="batch"), pretrain_epochs=1)
    start = weights(task)
    fit(task, 1, batch([6, 6], 6))
    first = weights(task)
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], first[name])}
    assert changed == {"spatial", "temporal"}
    task = Spotting(network(norm="batch"), pretrain_epochs=1)
    log = fit(task, 2, batch([6, 6], 6))
    second = weights(task)
    for name in start:
        pretrained = name.split(".")[0] in ("spatial", "temporal")
        assert torch.equal(first[name], second[name]) == pretrained, name
    assert list(log.table()["epoch"]) == [1, 2]
    assert log.table()["train_class_loss"].isna().tolist() == [True, False]


def test_not_frozen_everything_learns_in_stage_2() -> None:
    task = Spotting(network(), pretrain_epochs=1, frozen=False)
    fit(task, 1, batch([6, 6], 6))
    first = weights(task)
    task = Spotting(network(), pretrain_epochs=1, frozen=False)
    fit(task, 2, batch([6, 6], 6))
    same = [name for name, value in weights(task).items() if torch.equal(first[name], value)]
    assert {name.rpartition(".")[0] for name in same} == {"spatial.classifier"}  # stage 1's alone


def test_truncation_updates_once_a_part_and_carries_the_state() -> None:
    class Counting(torch.optim.SGD):
        steps = 0

        def step(self, *arguments: Any, **keywords: Any) -> Any:
            Counting.steps += 1
            return super().step(*arguments, **keywords)

    data = batch([6, 6], 6)
    net = network(temporal=False)  # whose batch norm would see other batches
    task = Spotting(net, truncation=2, optimizer=lambda p: Counting(p, lr=0.0))
    log = fit(task, 1, data)
    assert Counting.steps == 3
    # With a rate of 0 the parts are those of one piece: the state went on.
    steps = task.network.eval()(data["frames"])
    parts = [
        task.losses(
            steps.logits[:, k : k + 2],
            steps.intensity[:, k : k + 2],
            {name: values[:, k : k + 2] for name, values in data.items()},
        )
        for k in (0, 2, 4)
    ]
    expected = torch.stack([part["train_loss"] for part in parts]).mean()
    assert log.table()["train_loss"].item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_scheduler_steps_once_an_epoch() -> None:
    rates = []

    class Watched(torch.optim.lr_scheduler.StepLR):
        def step(self, *arguments: Any) -> None:
            super().step(*arguments)
            rates.append(self.get_last_lr()[0])

    task = Spotting(
        network(),
        optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
        scheduler=lambda optimizer: Watched(optimizer, step_size=1, gamma=0.1),
    )
    fit(task, 2, batch([3, 3], 3), batch([3, 3], 3))
    assert rates == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncation": 0}, r"task\.truncation=0"),
        ({"window": 0}, r"task\.window=0"),
        ({"motion": -1.0}, r"task\.motion=-1"),
        ({"inside_share": 1.0}, r"task\.inside_share=1\.0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        Spotting(network(), **options)


# --- scoring ---


@pytest.mark.parametrize("memory", ["gru", "convgru", "none"])
def test_windows_give_the_curve_of_one_piece(memory: Any) -> None:
    net = network(memory=memory).eval()
    video, first, length = frames(23), torch.tensor([0]), torch.tensor([23])
    whole = score_videos(net, video, first, length, window=1000)
    for window in (1, 5, 23):
        found = score_videos(net, video, first, length, window=window)
        assert_close(found.intensity, whole.intensity, atol=1e-5, rtol=0)
        assert_close(found.probabilities, whole.probabilities, atol=1e-5, rtol=0)
    assert whole.intensity.std() > 0


def test_a_batch_of_unequal_videos_gives_what_each_gives_alone() -> None:
    net = network(norm="batch").eval()
    lengths = torch.tensor([2, 9, 5])
    firsts = lengths.cumsum(0) - lengths
    video = frames(16).half()
    together = score_videos(net, video, firsts, lengths, window=4)
    assert together.intensity.shape == (3, 9)
    for k, length in enumerate(lengths.tolist()):
        alone = score_videos(net, video, firsts[k : k + 1], lengths[k : k + 1], window=4)
        assert_close(together.intensity[k, :length], alone.intensity[0], atol=1e-5, rtol=0)
        assert_close(together.probabilities[k, :length], alone.probabilities[0], atol=1e-5, rtol=0)
        assert not together.intensity[k, length:].any()


def test_the_last_frame_is_scored_against_itself() -> None:
    net = network().eval()
    video = frames(4)
    video[3, 3:] = 0  # as the encoding leaves it
    found = score_videos(net, video, torch.tensor([0]), torch.tensor([4]))
    with torch.inference_mode():
        steps = net(torch.cat([video, video[-1:]])[None])
    assert_close(found.intensity, steps.intensity, atol=1e-6, rtol=0)
    assert_close(found.probabilities, steps.logits.softmax(dim=2), atol=1e-6, rtol=0)


def test_the_part_of_the_frames_inside_expressions_in_the_intensitys_loss() -> None:
    known = batch([4, 4], 4)
    known["inside"] = torch.tensor([[True, False, False, False], [True, True, False, False]])
    known["intensity"] = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.2, float("nan"), 0.0, 0.0]])
    intensity = torch.full((2, 4), 0.5)
    logits = torch.zeros(2, 4, 3)

    def loss(share: float | None) -> float:
        task = Spotting(network(), inside_share=share)
        return task.losses(logits, intensity, known)["train_intensity_loss"].item()

    assert loss(None) == pytest.approx((0.5 + 0.3 + 5 * 0.5) / 7)
    assert loss(0.75) == pytest.approx(0.75 * 0.4 + 0.25 * 0.5)
    known["inside"][:] = False  # with nothing inside, what is outside counts whole
    assert loss(0.75) == loss(None)
