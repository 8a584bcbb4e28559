"""The one error type that a user is meant to read."""


class MerError(Exception):
    """Bad input or a refused action, in one line: which file, row or key, and what to do.

    ``mer`` prints the line and exits with code 1; ``--debug`` adds the traceback. Everything else
    that is raised is a bug.
    """
