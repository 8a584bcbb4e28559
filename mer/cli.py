"""``mer <verb>``: a verb's module is imported only when it is called."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from mer.errors import MerError

VERBS = {
    "train": "train and test the folds of one run, or sweep runs with -m",
    "table": "render a paper's table beside ours, running what is missing",
    "status": "which folds are done, missing or failed",
    "bench": "measure speed as a ratio to a reference",
}


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"mer: no verb {verb!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        raise SystemExit(1)
    # A fold computes with one thread; OpenMP reads this once, when torch is imported.
    run_verb(lambda given: import_module(f"mer.{verb}").main(given), rest)


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items())
    return f"usage: mer <verb> [options]\n\n{verbs}\n\n`mer <verb> --help` tells more; --debug adds the traceback to an error."


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
    except KeyboardInterrupt:
        print("mer: interrupted; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        sys.stderr.flush()
        raise SystemExit(130) from None


if __name__ == "__main__":
    os.environ.setdefault("WANDB_MODE", "offline")
    main()
