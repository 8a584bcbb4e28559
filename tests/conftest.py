"""What every test runs under: a cache of its own, W&B offline, no network."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
MEGC2019_UVOS = os.environ.get("MER_ROOT_MEGC2019_UVOS") or REPOSITORY.parent / "shared/data/megc2019_uvos"


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's machine: not the cache, not the W&B account, not the folders of databases."""
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "mer-cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MER_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("MER_WEIGHTS", raising=False)
    for variable in list(os.environ):
        if variable.startswith("MER_ROOT_"):
            monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The attempts to reach the network: each is refused, and fails the test even where it is caught.

    Unix sockets pass: wandb talks to its own process through one. Child processes are not watched.
    """
    attempts: list[str] = []

    def refuse(what: str) -> None:
        attempts.append(what)
        raise OSError(f"no network in tests: {what}")

    def guard(method: str) -> None:
        original = getattr(socket.socket, method)

        def connect(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX:
                refuse(f"{method} {address}")
            return original(self, address)

        monkeypatch.setattr(socket.socket, method, connect)

    guard("connect")
    guard("connect_ex")
    # A name is looked up before anything is connected.
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: refuse(f"getaddrinfo {host}"))
    yield attempts
    assert not attempts, f"the test reached for the network: {attempts}"


@pytest.fixture
def megc2019_uvos() -> Path:
    """The real 442 flow images, where this machine has them."""
    root = Path(MEGC2019_UVOS).expanduser()
    if not root.is_dir():
        pytest.skip(f"{root}: the real flow images are not here; name them with MER_ROOT_MEGC2019_UVOS")
    return root
