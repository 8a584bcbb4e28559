"""Where the configs lie: inside an installed package, beside it in a checkout."""

from pathlib import Path


def config_dir() -> Path:
    """The folder conf/."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "conf"
