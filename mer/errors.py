"""The one error type that a user is meant to read, and how it is shown."""

import os
import sys
from collections.abc import Callable, Sequence


class MerError(Exception):
    """Bad input or a refused action, in one line: which file, row or key, and what to do.

    ``mer`` prints the line and exits with code 1; ``--debug`` adds the traceback. Everything else
    that is raised is a bug.
    """

    def __str__(self) -> str:
        # A file name whose bytes are no UTF-8 could not be printed.
        return os.fsencode(super().__str__()).decode("utf-8", "backslashreplace")


def run_verb(verb: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Call a verb; a MerError becomes one line and exit code 1, Ctrl-C exit code 130."""
    debug = "--debug" in arguments
    try:
        verb([argument for argument in arguments if argument != "--debug"])
    except MerError as error:
        if debug:
            raise
        print(f"mer: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # `mer ... | head`: the reader has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(
            "mer: interrupted; what is finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        sys.stderr.flush()
        raise SystemExit(130) from None
