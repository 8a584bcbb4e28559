"""The one error type that a user is meant to read, and how it is shown."""

import atexit
import errno
import os
import re
import reprlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

# Control characters; the separators of lines that are none of these; and what turns the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class MerError(Exception):
    """Bad input or a refused action, in one line: which file, row or key, and what to do.

    ``mer`` prints the line and exits with code 1; ``--debug`` adds the traceback. Everything else
    that is raised is a bug.
    """

    def __str__(self) -> str:
        return in_one_line(super().__str__())


class Terminated(BaseException):
    """SIGTERM, which a cluster sends before it takes the machine back. No Exception, as KeyboardInterrupt."""


# What no code of ours can cure: a disk that is full, over quota, or read only.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
GOES_ON = "what is finished is kept, and the same command goes on from there"


def in_one_line(text: str) -> str:
    """Text that can be printed, whatever names and cells it quotes.

    A file name whose bytes are no UTF-8 could not be printed, and a line break, or another control
    character, in a name would write into other lines of the terminal.
    """
    printable = os.fsencode(text).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], printable)


def shown(value: object, most: int = 60) -> str:
    """A value as a message shows it, cut where it is long: what is wrong may be a list of a million."""
    text = reprlib.repr(value) if isinstance(value, dict | list | tuple | set) else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def run_verb(verb: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Call a verb; how it ends, ends in one line.

    Exit code 1: a MerError, a disk that is full or read only. 130: Ctrl-C. 143: SIGTERM. After the last two
    what is finished is kept, and so is the last checkpoint of folds that are trained together.
    """
    debug = "--debug" in arguments
    try:
        with _signals_raise():
            verb([argument for argument in arguments if argument != "--debug"])
    except MerError as error:
        if debug:
            raise
        print(f"mer: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except MemoryError as error:
        if debug:
            raise
        print(f"mer: out of memory ({error or 'Python could not get any'})", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # `mer ... | head`: the reader has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if debug or error.errno not in DISK:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"mer: {where}{error.strerror}; {GOES_ON}", file=sys.stderr)
        raise SystemExit(1) from None
    except (KeyboardInterrupt, Terminated) as end:
        how, code = ("interrupted", 130) if isinstance(end, KeyboardInterrupt) else ("terminated", 143)
        print(f"mer: {how}; {GOES_ON}", file=sys.stderr)
        sys.stderr.flush()
        _ended.append(code)
        raise SystemExit(code) from None


_ended: list[int] = []  # the exit code, where a signal has ended this process


def leave_at_once() -> None:
    """Let a process that a signal has ended leave after its exit handlers, before Python is taken apart.

    A join that a signal breaks off counts its thread as ended, in Python 3.11 at least, so that a thread may
    still be inside OpenCV or torch; Python then ends it there, in C++ that allows no unwinding, and the
    process aborts. To be called where a process starts: exit handlers run last in, first out.
    """
    atexit.register(_leave)


def _leave() -> None:
    if _ended:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(_ended[-1])


# Python swallows what is raised in these: a finalizer, and the callback of a WeakSet.
_SWALLOWS = {"__del__", "_remove"}
_AGAIN_S = 0.05  # until a signal that came in one of them is raised after it


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM raise Terminated, so that workers are ended and files closed; and no Ctrl-C be lost."""
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handler
        yield
        return

    def terminate(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one would break off the first one's cleaning up
        raise Terminated

    def interrupt(_: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_name in _SWALLOWS:
                signal.signal(signal.SIGALRM, interrupt)
                signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else nohup, or a caller of ours
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
