"""``mer <verb>``: a verb's module is imported only when it is called."""

import sys
from importlib import import_module

from mer.errors import leave_at_once, run_verb

VERBS = {
    "train": "train and test the folds of one run, or sweep runs with -m",
    "audit": "what is in a database's folder, what is wrong, what will be used",
    "encode": "make the encoded images ahead of a run",
    "standin": "write drawn faces in the layout of a licensed database",
    "figures": "clips and encodings, figures of the papers, network diagrams, Grad-CAM",
    "check-print": "whether printed scores can be those of any confusion matrix",
    "table": "render a paper's table beside ours, running what is missing",
    "reproduce": "run a finished run again from its own record, and compare",
    "predict": "emotion, intensity and spotted intervals of a video or a folder of frames",
    "export": "a trained network as ONNX or torch.export, checked against the module",
    "dashboard": "all runs and tables as a page for the browser, which works offline",
    "wandb-report": "a W&B report that compares the papers' tables",
    "status": "which folds are done, missing or failed",
    "bench": "measure speed as a ratio to a reference",
}


def main() -> None:
    """The console script."""
    leave_at_once()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"mer: no verb {verb!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        raise SystemExit(1)
    run_verb(lambda given: import_module(f"mer.{verb.replace('-', '_')}").main(given), rest)


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items())
    more = "`mer <verb> --help` tells more; --debug adds the traceback to an error."
    return f"usage: mer <verb> [options]\n\n{verbs}\n\n{more}"


if __name__ == "__main__":
    main()
