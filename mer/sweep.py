"""``fold=each`` and ``fold=#n``, which Hydra's grammar cannot express, before Hydra sees them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser

MULTIRUN = {"-m", "--multirun"}
# Another value of these gives other folds; one sweep each, so that none loses any.
FOLD_GROUPS = ("data", "protocol", "experiment", "variant")


def expand(arguments: Sequence[str], list_folds: Callable[[Sequence[str]], list[str]]) -> Iterator[list[str]]:
    """The command lines that Hydra runs one after another.

    Args:
        arguments: flags and overrides as typed.
        list_folds: overrides -> names of the folds.

    Yields:
        ``arguments`` itself, unless it says ``fold=each``; then a multirun line for each combination of
        the swept keys that decide the folds.
    """
    # Hydra's parser refuses -m after the overrides, where one is used to write it.
    arguments = sorted(map(_quote_position, arguments), key=lambda argument: argument not in MULTIRUN)
    if "fold=each" not in arguments:
        yield list(arguments)
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    overrides = [
        argument for argument in arguments if not argument.startswith("-") and argument != "fold=each"
    ]
    if not MULTIRUN & set(flags):
        flags = ["-m", *flags]
    deciding: list[list[str]] = []
    rest: list[str] = []
    fixed: list[str] = []
    for text, override in zip(overrides, OverridesParser.create().parse_overrides(overrides), strict=True):
        group = override.key_or_group.split(".")[0].split("/")[0]
        if group in FOLD_GROUPS:
            values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
            deciding.append(
                [f"{override.get_key_element()}={value}" for value in values] if values else [text]
            )
        else:
            rest.append(text)
            if not override.is_sweep_override():
                fixed.append(text)
    for combination in product(*deciding):
        folds = list_folds([*combination, *fixed])
        yield [*flags, *combination, *rest, f"fold={','.join(folds)}"]


def _quote_position(argument: str) -> str:
    key, _, value = argument.partition("=")
    return f"fold='{value}'" if key == "fold" and value.startswith("#") else argument
