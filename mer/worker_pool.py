"""Worker processes: none outlives its parent, hears Ctrl-C, or dies without that being said."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from mer.errors import MerError

Given = TypeVar("Given")
Result = TypeVar("Result")


def run_in_workers(
    work: Callable[[Given], Result],
    items: Sequence[Given],
    workers: int,
    *,
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    advice: str,
) -> Iterator[Result]:
    """Call ``work`` on each item in one of so many processes; yields what it gives, as it is done.

    Args:
        work: a function of a module, with what it is given and gives picklable.
        items: to work on.
        workers: processes.
        start: likewise of a module; each process calls it once, with these arguments, before its first item.
        arguments: of ``start``.
        advice: what to do if a process is killed, for the message.

    Raises:
        MerError: a worker process was killed.
    """
    # spawn: a forked child would inherit torch's thread pools and locks in an undefined state.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (start, *arguments)
    )
    try:
        for future in as_completed(_submit(pool, work, items)):
            yield future.result()
    except BrokenProcessPool as error:
        raise MerError(f"a worker process was killed, perhaps for want of memory; {advice}") from error
    except BaseException:
        # Not terminate(): a signal's handler waits for the end of a long convolution. A kill costs no file.
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # and wait: a worker that is still ending disturbs what comes next


def _submit(
    pool: ProcessPoolExecutor, work: Callable[[Given], Result], items: Sequence[Given]
) -> "list[Future[Result]]":
    """Start the workers, which hear no Ctrl-C: it reaches the whole process group, also while they import.

    They inherit what is blocked here. The parent ends its workers and says so once, when all of them have
    been told what to do: a thread of its own may take the signal meanwhile.
    """
    heard: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        futures = [pool.submit(work, item) for item in items]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if main:
            signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt
    return futures


def _start_worker(start: Callable[..., None], *arguments: Any) -> None:
    # Lightning would make an exception of SIGTERM, which the parent would take for its own end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*arguments)


def _end_with_parent() -> None:
    """A parent killed by -9 cannot stop its workers: each watches for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
