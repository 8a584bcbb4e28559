"""The bar that reading and encoding show."""

from rich.console import Console
from rich.progress import Progress


def progress_bar(show: bool) -> Progress:
    """A bar on standard error that leaves no trace; hidden where that is no terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not (show and console.is_terminal))
