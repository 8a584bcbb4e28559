"""Weight files and checkpoints that are not what they say: one line, and no code in them is run."""

import contextlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from mer.errors import MerError
from mer.networks.imagenet_weights import read_weights
from mer.networks.ststnet import load_released
from tests import trust
from tests.fuzz.config_mutations import damaged
from tests.networks.test_ststnet import released_state

Read = Callable[[Path], object]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_WEIGHTS", str(tmp_path))


def read_imagenet(path: Path) -> dict[str, Tensor]:
    return read_weights(f"https://nowhere.invalid/{path.name}", path.name)


class Payload:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch fuzz-marker",)


class Evaluated:
    """The same, by a builtin."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("open('fuzz-marker', 'w')",)


class Named:
    """A global that is no tensor's, as a whole module that was pickled has."""


PICKLES: dict[str, Callable[[], object]] = {
    "os.system": Payload,
    "eval": Evaluated,
    "a module": lambda: nn.Linear(2, 2),
    "a class": Named,
    "in a state dict": lambda: {"conv1.weight": Payload()},
    "as a key": lambda: {Evaluated: 1},
    "in a list of a state dict": lambda: {"a": [torch.zeros(1), Payload()]},
}


@pytest.mark.parametrize("read", [load_released, read_imagenet])
@pytest.mark.parametrize("way", ["torch", "torch, before 1.6", "pickle", "pickle, by name"])
@pytest.mark.parametrize("name", PICKLES)
def test_no_pickled_code_is_run(name: str, way: str, read: Read) -> None:
    path = Path("sub01.pth")
    content = PICKLES[name]()
    if way == "pickle":
        with contextlib.suppress(pickle.PicklingError, AttributeError):
            path.write_bytes(pickle.dumps(content))
    elif way == "pickle, by name":
        path.write_bytes(b"cos\nsystem\n(S'touch fuzz-marker'\ntR.")
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "torch")
    assert isinstance(trust.attempt("input", "pickled code", lambda: read(path)), MerError)
    assert not Path("fuzz-marker").exists()


STATE = released_state()


@given(data=st.data())
def test_a_damaged_release_is_read_or_refused(data: st.DataObject) -> None:
    path = Path("sub01.pth")
    torch.save(STATE, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    trust.attempt("input", "weight file, damaged", lambda: load_released(path))


VALUES: list[Any] = [
    *(torch.zeros(()), torch.zeros(0), torch.zeros(3), torch.zeros(3, 3), torch.zeros(1, 2, 3, 4, 5)),
    *(torch.tensor([float("nan")] * 3), torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool)),
    *(torch.zeros(3, dtype=torch.complex64), torch.zeros(3, dtype=torch.float16), None, 3, "x", [1, 2], {}),
    *(torch.zeros(3).to_sparse(), torch.zeros(3, 3, 3, 3), torch.zeros(0, 3, 3, 3), torch.zeros(3, 0, 3, 3)),
]


@given(
    edits=st.dictionaries(st.sampled_from([*sorted(STATE), "more", 3]), st.sampled_from(VALUES), max_size=3),
    dropped=st.lists(st.sampled_from(sorted(STATE)), max_size=1),
)
def test_an_edited_release_is_read_or_refused(edits: dict[Any, Any], dropped: list[str]) -> None:
    state: dict[Any, Any] = STATE | edits
    for key in dropped:
        state.pop(key, None)
    path = Path("sub01.pth")
    torch.save(state, path)
    found = trust.attempt("input", "weight file, edited", lambda: load_released(path))
    if not isinstance(found, MerError):
        assert all(tensor.isfinite().all() for tensor in found.state_dict().values())


NETWORK = {"a": torch.zeros(2, 3), "b": torch.arange(4)}


@given(data=st.data())
def test_a_damaged_safetensors_file_is_read_or_refused(data: st.DataObject) -> None:
    path = Path("net.safetensors")
    save_file(NETWORK, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    trust.attempt("input", "safetensors, damaged", lambda: read_imagenet(path))


def safetensors(header: object, data: bytes = b"\0" * 24, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes}


HEADERS = {
    "a giant header": safetensors({}, length=2**63),
    "a header beyond the end": safetensors({}, length=10**6),
    "no header": b"",
    "half a length": b"\x01\x02",
    "no JSON": safetensors(b"{"),
    "lists in lists": safetensors(b"[" * 100_000),
    "a list": safetensors([]),
    "no offsets": safetensors({"a": {"dtype": "F32", "shape": [2, 3]}}),
    "offsets beyond the end": safetensors(tensor(data_offsets=[0, 2**62])),
    "offsets below 0": safetensors(tensor(data_offsets=[-8, 16])),
    "offsets that fall": safetensors(tensor(data_offsets=[24, 0])),
    "a giant shape": safetensors(tensor(shape=[2**40, 2**40])),
    "a negative shape": safetensors(tensor(shape=[-2, -3])),
    "a shape that does not fit": safetensors(tensor(shape=[7])),
    "an unknown type": safetensors(tensor(dtype="X9")),
    "metadata of numbers": safetensors({"__metadata__": {"trained_on": 3}, **tensor()}),
    "two tensors in one place": safetensors({**tensor(), "b": tensor()["a"]}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_refused(name: str) -> None:
    path = Path("net.safetensors")
    path.write_bytes(HEADERS[name])
    assert isinstance(trust.attempt("input", "safetensors header", lambda: read_imagenet(path)), MerError)
