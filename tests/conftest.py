"""What every test runs under: a cache of its own, W&B offline, no network."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest

REPOSITORY = Path(__file__).parents[1]
NO_NETWORK = REPOSITORY / "tests" / "no_network"
os.environ.setdefault("MER_TEST_NETWORK", os.devnull)  # until the first test names its own file
run_path(str(NO_NETWORK / "sitecustomize.py"))
# A shell starts what runs in the background deaf to Ctrl-C, and the processes that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
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
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the attempts to reach the network: each is refused, and fails the test even where caught.

    Unix sockets pass: wandb talks to its own process through one. Python's child processes are watched too.
    """
    attempts = tmp_path / "network-attempts"
    monkeypatch.setenv("MER_TEST_NETWORK", str(attempts))
    monkeypatch.setenv("PYTHONPATH", str(NO_NETWORK), prepend=os.pathsep)
    yield attempts
    assert not attempts.exists(), f"the test reached for the network: {attempts.read_text(encoding='utf-8')}"


@pytest.fixture
def megc2019_uvos() -> Path:
    """The real 442 flow images, where this machine has them."""
    root = Path(MEGC2019_UVOS).expanduser()
    if not root.is_dir():
        pytest.skip(f"{root}: the real flow images are not here; name them with MER_ROOT_MEGC2019_UVOS")
    return root
