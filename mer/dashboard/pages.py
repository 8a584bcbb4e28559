"""Templates to files: Jinja2, which escapes every name of the data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from mer.atomic import write_text

HERE = Path(__file__).parent
STATIC = HERE / "static"
NONE = "\N{EN DASH}"


def environment() -> jinja2.Environment:
    """The templates; a name that a template misspells is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "score": score,
        "count": count,
        "percent": percent,
        "duration": duration,
        "link": quote,
        "spot": spot,
    }
    return made


def write_page(made: jinja2.Environment, template: str, path: Path, out: Path, **context: Any) -> None:
    """Render a page to ``out / path``; ``root`` leads from it back to ``out``."""
    root = "../" * (len(path.parts) - 1)
    target = out / path
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, made.get_template(template).render(root=root, **context))


def score(value: Any) -> str:
    """Four digits, as tables have them."""
    return NONE if value is None or value != value else f"{value:.4f}"


def spot(name: str, value: Any) -> str:
    """A score of spotting: false alarms a minute have one digit, counts none."""
    if value is None or value != value:
        return NONE
    digits = {"videos": 0, "expressions": 0, "false_alarms": 1}.get(name, 4)
    return f"{value:.{digits}f}"


def count(value: Any) -> str:
    """A whole number with thin spaces between thousands; a text stays as it is."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if isinstance(value, int) else NONE


def percent(value: float) -> str:
    """A share of 1."""
    return f"{100 * value:.0f} %"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return NONE
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def without_nan(value: Any) -> Any:
    """The same with None for what is not finite: JSON knows no nan."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(each) for each in value]
    return value
