import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mer.data.roots import cache_dir


def test_the_network_is_refused_and_remembered(network: Path) -> None:
    with pytest.raises(OSError, match="no network in tests"):
        socket.create_connection(("example.org", 80))
    with socket.socket() as plain, pytest.raises(OSError, match="no network in tests"):
        plain.connect(("127.0.0.1", 9))
    with socket.socket() as plain, pytest.raises(OSError, match="no network in tests"):
        plain.connect_ex(("127.0.0.1", 9))
    attempts = network.read_text(encoding="utf-8").splitlines()
    assert [attempt.split()[0] for attempt in attempts] == ["getaddrinfo", "connect", "connect_ex"]
    network.unlink()  # or this test would fail, as it should elsewhere


def test_unix_sockets_pass(tmp_path: Path, network: Path) -> None:
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(address)
        server.listen()
        client.connect(address)
    assert not network.exists()


def test_the_cache_is_the_test_s_own(tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "mer-cache"
    assert os.environ["WANDB_MODE"] == "offline"


def test_a_datagram_is_refused_too(network: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        with pytest.raises(OSError, match="no network in tests"):
            plain.sendto(b"x", ("127.0.0.1", 9))
        with pytest.raises(OSError, match="no network in tests"):
            plain.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))
    assert len(network.read_text(encoding="utf-8").splitlines()) == 2
    network.unlink()


def test_children_hear_ctrl_c_wherever_the_tests_are_started() -> None:
    """In the background of a shell too, which makes them deaf to it."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import tests.conftest\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
