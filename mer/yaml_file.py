"""YAML files that somebody else may have written: they run no code, and none hangs or fills the memory."""

from pathlib import Path
from typing import Any

import yaml

from mer.errors import MerError

# Of one file, with each alias counted as what it stands for. Ours have a few hundred.
MOST_NODES = 100_000
MOST_DEPTH = 200
# The parser in C, where PyYAML has it: several times faster.
C_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, loader: Any = yaml.SafeLoader, *, missing: str = "no such file") -> Any:
    """What a YAML file holds.

    Args:
        path: of the file.
        loader: a safe one, or one made from it.
        missing: says what the file is, where it is not there.

    Raises:
        MerError: it is not there, cannot be read, or is no YAML that :func:`parse_yaml` takes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MerError(f"{path}: {missing}") from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a zero byte in the name
        raise MerError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    try:
        return parse_yaml(text, loader)
    except yaml.YAMLError as error:
        raise MerError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error


def parse_yaml(text: str, loader: Any = yaml.SafeLoader) -> Any:
    """What a YAML text holds.

    Raises:
        yaml.YAMLError: no YAML; or aliases that lead back to themselves or stand for more than 100,000
            values ("billion laughs"), lists that lie too deep in lists, or a value that its tag does not fit.
    """
    if issubclass(loader, C_LOADER):
        _check_depth(text)
    parser = loader(text)
    try:
        node = parser.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return parser.construct_document(node)
    except yaml.YAMLError:
        raise
    except RecursionError as error:
        raise yaml.YAMLError("lists or mappings lie too deep in each other") from error
    except Exception as error:  # PyYAML's constructors of numbers and dates raise almost anything
        raise yaml.YAMLError(f"a value that is none of its type: {error}") from error
    finally:
        parser.dispose()


def _check_depth(text: str) -> None:
    """The loader in C calls itself for each list in a list, and ends Python where they are too many."""
    depth = 0
    for event in yaml.parse(text, C_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MOST_DEPTH:
                raise yaml.YAMLError(f"lists or mappings lie too deep in each other, {event.start_mark}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Values below a node, those behind aliases as often as they stand there."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise yaml.YAMLError(f"an alias stands for itself, {str(node.start_mark).strip()}")
        return count
    known[id(node)] = None
    count = 1
    if isinstance(node, yaml.SequenceNode):
        count += sum(_count(each, known) for each in node.value)
    elif isinstance(node, yaml.MappingNode):
        count += sum(_count(key, known) + _count(value, known) for key, value in node.value)
    if count > MOST_NODES:
        raise yaml.YAMLError(f"its aliases stand for more than {MOST_NODES:,} values")
    known[id(node)] = count
    return count
