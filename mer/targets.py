"""What a ``_target_`` of a config may name, and whether the keywords beside it fit its signature.

A config is code: ``_target_`` names a class or a function that is called. Whose config it is decides what
it may name:

- the user's own, from the command line and conf/: anything that can be imported, so that
  ``_target_: my_package.MyNet`` works, but for Python itself (``os.system``, ``builtins.eval``);
- one that travelled with data, the record of a run or of a checkpoint: ``mer`` and ``torch`` only, and
  packages that the user names (:func:`check_targets`). Nothing else is even imported.

In both, what is found must be of the class that its place needs, which :mod:`mer.config` sees to.
"""

import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mer.errors import MerError, shown

TRUSTED = ("mer.", "torch.")
# A reader of clips or a split is ours or the user's own. `pandas.read_pickle` and `torch.hub.load` would run
# what lies in the folder that they are given.
_LIBRARIES = frozenset(
    {"torch", "numpy", "pandas", "yaml", "joblib", "sklearn", "cv2", "hydra", "omegaconf", "cloudpickle"}
)
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


def check_target(target: str, *, key: str = "_target_", trusted: Sequence[str] = TRUSTED) -> None:
    """Refuse a ``_target_`` from a file that travelled, unless it lies in a trusted package.

    Args:
        target: dotted name of a class or function; nothing is imported.
        key: of the config, for the message.
        trusted: packages, each with or without a dot at its end.

    Raises:
        MerError: another package.
    """
    packages = [name.rstrip(".") for name in trusted]
    if target.split(".")[0] not in {name for name in packages if "." not in name} and not any(
        target.startswith(f"{name}.") for name in packages
    ):
        raise MerError(
            f"{key}={target}: a file that came with data may name classes of {', '.join(packages)} only; "
            "name the package as trusted if it is your own"
        )
    if target.split(".")[0] in sys.stdlib_module_names:
        raise MerError(f"{key}={target}: a part of Python itself, which no config may call")


def check_targets(config: object, where: str, *, trusted: Sequence[str] = TRUSTED) -> None:
    """Refuse the config of a file that travelled (plan.yaml, run.yaml, a checkpoint), before it is used.

    Args:
        config: plain dicts and lists, as read.
        where: the file, for the message.
        trusted: as :func:`check_target`.

    Raises:
        MerError: a ``_target_`` outside the trusted packages, anywhere in it; or an interpolation, which
            a record has resolved: it would read this machine's environment.
    """
    pending: list[tuple[str, object]] = [("", config)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, Mapping):
            if "_target_" in value:
                key = f"{where}: {place}._target_" if place else f"{where}: _target_"
                check_target(str(value["_target_"]), key=key, trusted=trusted)
            pending += [(f"{place}.{key}" if place else str(key), each) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(f"{place}[{number}]", each) for number, each in enumerate(value)]
        elif isinstance(value, str) and "${" in value:
            raise MerError(f"{where}: {place}={shown(value)}: a record holds no interpolations")


def locate(target: str, key: str) -> Any:
    """What a ``_target_`` of the user's own config names.

    Raises:
        MerError: it is a part of Python itself, or cannot be imported.
    """
    _refuse_python(target, target.split(".")[0], key)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # importing runs the user's own file, which may raise anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise MerError(f"{key}._target_={target}: cannot be imported ({why})") from error
    _refuse_python(target, _home(found), key)  # a module passes on what it has imported itself
    return found


def check_function(target: str, found: object, key: str) -> None:
    """Refuse what is no function of ours or of the user.

    Raises:
        MerError: nothing to call, or a function of a library.
    """
    if not callable(found):
        raise MerError(f"{key}._target_={target}: not a function")
    if {target.split(".")[0], _home(found)} & _LIBRARIES:
        raise MerError(f"{key}._target_={target}: a function of a library; name one of mer or of your own")


def check_keywords(found: Callable[..., Any], keywords: Mapping[str, Any], key: str) -> None:
    """Hold the keywords of a config against the signature: its names, and the plain types of its values.

    What a number's range or a choice is, the function says itself.

    Raises:
        MerError: a keyword that it does not have, or a value of another type, naming the config key.
    """
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # written in C
        return
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    positional = {name for name, each in parameters.items() if each.kind is each.POSITIONAL_ONLY}
    known = parameters.keys() - positional
    if not anything and (strange := [name for name in keywords if name not in known]):
        raise MerError(
            f"{key}: unexpected keyword argument {strange[0]!r}; there are {', '.join(parameters)}"
        )
    hints = _hints(found)
    for name, value in keywords.items():
        if name in hints:
            check_value(f"{key}.{name}", value, hints[name])


def check_value(key: str, value: object, hint: Any) -> None:
    """Refuse a value of a config that is not of a type.

    Args:
        key: of the config.
        value: plain, as YAML gives it.
        hint: a type such as ``int``, ``Sequence[float] | None`` or a ``Literal``; others take anything.

    Raises:
        MerError: naming the key, the value and what is needed.
    """
    if not fits(value, hint):
        raise MerError(f"{key}={shown(value)}: {_words(hint)} is needed")


def fits(value: object, hint: Any) -> bool:
    """Whether a plain value is of a type; a list is any sequence, a text a path, a whole number a float.

    >>> fits([1, 2.5], Sequence[float]), fits(True, int), fits("a", Path | None), fits("a", list[str])
    (True, False, True, False)
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is Literal:
        return type(value) in {type(each) for each in arguments}
    kind = origin or hint
    if kind is None or kind is types.NoneType:
        return value is None
    if kind in (Any, object) or not isinstance(kind, type):
        return True
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if issubclass(kind, Path):
        return isinstance(value, str | Path)
    if kind is not str and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not arguments or all(fits(k, arguments[0]) and fits(v, arguments[1]) for k, v in value.items())
        )
    if kind is not str and issubclass(kind, Sequence):
        inner = [each for each in arguments if each is not ...]
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        return not inner or all(any(fits(each, one) for one in inner) for each in value)
    return isinstance(value, kind)


def _refuse_python(target: str, package: str, key: str) -> None:
    if package in sys.stdlib_module_names:
        raise MerError(f"{key}._target_={target}: a part of Python itself, which no config may call")


def _home(found: object) -> str:
    """The package that defines a class or function."""
    while isinstance(found, partial):
        found = found.func
    return str(getattr(found, "__module__", None) or "").split(".")[0]


def _hints(found: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(getattr(found, "__init__") if isinstance(found, type) else found)  # noqa: B009
    except Exception:  # hints are code: a name, for instance, that is imported for type checkers only
        return {}


def _words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in arguments))
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    kind = origin or hint
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Path):
        return "a path"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        inner = " or ".join(dict.fromkeys(_words(each) for each in arguments if each is not ...))
        return f"a list ({inner} each)" if inner else "a list"
    return getattr(kind, "__name__", str(kind))
