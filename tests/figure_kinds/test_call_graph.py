"""The graph of calls: against modules whose graph is known, and against hooks on every shipped network."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mer import config
from mer.errors import MerError
from mer.figure_kinds.call_graph import Call, call_graph
from mer.figure_kinds.network_diagram import build
from mer.prepare import make_encoding

NETWORKS = [
    name for name in config.names("network") if name not in ("svm", "hoof_difference", "lbp_difference")
]


class Branches(nn.Module):
    """A skip in place, two lanes of one convolution, a concat, a constant, a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.left = nn.Conv2d(2, 2, 1)
        self.right = nn.Conv2d(2, 2, 1)
        self.same = nn.Identity()
        self.never = nn.Linear(7, 7)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.stem(images / 255))
        first, second = maps.chunk(2, dim=1)
        lanes = torch.cat([self.act(self.left(first)), self.same(self.right(second))], dim=1)
        lanes += maps
        result: Tensor = self.head(lanes.mean((-2, -1)).reshape(len(images), -1))
        return result


def edges(calls: list[Call]) -> dict[str, list[str]]:
    names = [f"{call.number} {call.name}" for call in calls]
    return {names[call.number]: [names[source] for source in call.sources] for call in calls}


def test_edges_are_those_of_the_forward_pass() -> None:
    calls = call_graph(Branches().eval(), torch.rand(1, 3, 5, 5))
    assert edges(calls) == {
        "0 input": [],
        "1 / 255": ["0 input"],
        "2 stem": ["1 / 255"],
        "3 act": ["2 stem"],
        "4 1 of 2": ["3 act"],
        "5 2 of 2": ["3 act"],
        "6 left": ["4 1 of 2"],
        "7 act": ["6 left"],
        "8 right": ["5 2 of 2"],
        "9 cat": ["7 act", "8 right"],
        "10 add": ["9 cat", "3 act"],
        "11 mean": ["10 add"],
        "12 head": ["11 mean"],
        "13 output": ["12 head"],
    }
    assert [call.shapes for call in calls[8:12]] == [[(2, 5, 5)], [(4, 5, 5)], [(4, 5, 5)], [(4,)]]
    assert sum(call.parameters for call in calls) == 3 * 4 * 9 + 4 + 2 * (2 * 2 + 2) + 4 * 2 + 2


def test_shared_weights_count_once() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    assert [call.parameters for call in call_graph(network, torch.rand(1, 4))] == [0, 20, 0, 4, 0]


def shipped(name: str) -> tuple[nn.Module, Tensor]:
    cfg = config.compose([f"network={name}"])
    return build(config.resolved(cfg)["network"], make_encoding(cfg), classes=3)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_call_of_a_shipped_network_is_there(name: str) -> None:
    network, images = shipped(name)
    calls = call_graph(network, images)
    called: Counter[str] = Counter()
    within = [name for name, module in network.named_modules() if "BatchNormAct" in type(module).__name__]

    def note(label: str, module: nn.Module) -> Any:
        leaf = not list(module.children()) or any(True for _ in module.parameters(recurse=False))
        inner = any(label.startswith(f"{outer}.") for outer in within)
        if leaf and not inner and not isinstance(module, nn.Identity):
            module.register_forward_hook(lambda *_: called.update([label]))

    for label, module in network.named_modules():
        note(label, module)
    boxes = Counter(call.name for call in calls if call.module is not None)
    with torch.no_grad():
        network(images)
    assert boxes == called
    assert all(source < call.number for call in calls for source in call.sources)
    assert all(call.sources for call in calls[1:])
    read = {source for call in calls for source in call.sources}
    assert {call.number for call in calls} - read == {call.number for call in calls if call.kind == "output"}
    never = [module for label, module in network.named_modules() if list(module.parameters()) and label]
    uncalled = sum(
        parameter.numel()
        for module in never
        for parameter in module.parameters(recurse=False)
        if not any(call.module is module for call in calls)
    )
    assert uncalled == (4100 if name == "time_contrast" else 0)  # of stage 1 alone: FC 1024 -> 3 + neutral
    assert sum(call.parameters for call in calls) == sum(p.numel() for p in network.parameters()) - uncalled


def test_lanes_of_learnet_accrete() -> None:
    calls = call_graph(*shipped("learnet"))
    by_number = {call.number: call for call in calls}

    def read_by(name: str) -> list[str]:
        (call,) = (each for each in calls if each.name == name)
        return [by_number[source].name for source in call.sources]

    assert read_by("conv3.0") == ["1 of 4"]
    (sum_1,) = (each for each in calls if each.name == "conv3.1")
    (source,) = sum_1.sources
    assert by_number[source].name == "add"
    assert [by_number[each].name for each in by_number[source].sources] == ["1 of 4", "2 of 4"]


@pytest.mark.parametrize("name", ["svm", "lbp_difference"])
def test_what_has_no_layers_is_refused(name: str) -> None:
    with pytest.raises(MerError, match=r"network\._target_=mer\..*: it is no network of layers"):
        shipped(name)
