"""Refuses the network to a process: every socket but a Unix one. Python imports it where it is on PYTHONPATH.

The tests put it there, for themselves and for the processes that they start. Each attempt is refused with
an OSError and adds a line to the file that MER_TEST_NETWORK names, so that the test fails even where it is
caught.
"""

import os
import socket
from typing import Any, NoReturn

VARIABLE = "MER_TEST_NETWORK"


def refuse(what: str) -> NoReturn:
    """Remember the attempt, and end it."""
    if path := os.environ.get(VARIABLE):
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - in every child: nothing else is imported
            file.write(f"{what}\n")
    raise OSError(f"no network in tests: {what}")


def guard(method: str) -> None:
    """Refuse a method of sockets that reaches another machine."""
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if self.family != socket.AF_UNIX:
            refuse(f"{method} {arguments[-1]}")
        return original(self, *arguments)

    setattr(socket.socket, method, guarded)


def lookup(host: object, *_: Any, **__: Any) -> NoReturn:
    """In place of getaddrinfo: a name is looked up before anything is connected."""
    refuse(f"getaddrinfo {host!r}")


if VARIABLE in os.environ:
    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        guard(name)
    socket.getaddrinfo = lookup
