"""A network as the graph of its calls, read from one forward pass: modules, and what is done between them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# They give the values of their input in another shape, or a part of them.
_VIEWS = {
    *("flatten", "reshape", "view", "unflatten", "unsqueeze", "squeeze", "permute", "transpose", "movedim"),
    *("expand", "expand_as", "contiguous", "detach", "clone", "float", "to", "__getitem__", "dropout"),
}
_PARTS = {"chunk", "split", "unbind"}
_SIGNS = {"add": "+", "sub": "-", "mul": "x", "div": "/", "truediv": "/"}


@dataclass
class Call:
    """One node of the graph.

    Attributes:
        number: its place in the order of calls, and in the graph.
        kind: ``input``; ``module``, a call of a leaf module; ``operation``, a function of torch that was
            called outside one; ``part`` of a tensor that was split; ``output``.
        name: of the module in the network; what is left is the operation's or the output's.
        sources: numbers of the calls whose results it reads, each once.
        shapes: of what it gives, without the batch: (C, H, W), (features,).
        module: of a module's call.
        parameters: numbers of the module's tensors, where this is the first call that uses them.
    """

    number: int
    kind: Literal["input", "module", "operation", "part", "output"]
    name: str
    sources: list[int]
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    module: nn.Module | None = None
    parameters: int = 0


def call_graph(network: nn.Module, images: Tensor) -> list[Call]:
    """The calls of one forward pass, in their order; each reads from earlier ones only.

    A leaf is a module without children, or one that holds parameters itself, with all that is in it.
    ``nn.Identity`` is no call, as it gives its very input. Views (reshape, flatten, indexing, ...) are none
    either: what reads their result reads from the call before. ``chunk``, ``split`` and ``unbind`` give a
    ``part`` for each of their results.

    Args:
        network: any module that takes one tensor, in eval mode.
        images: on the network's device; ``meta`` will do.
    """
    leaves: dict[nn.Module, str] = {}
    inside: set[nn.Module] = set()
    for name, module in network.named_modules():  # parents before their children
        weighs = next(module.parameters(recurse=False), None) is not None
        if module not in inside and (weighs or not list(module.children())):
            leaves[module] = name or type(module).__name__
            inside.update(module.modules())
    tracer = _Tracer(images)
    hooks = []
    for module, name in leaves.items():
        if not isinstance(module, nn.Identity):
            hooks.append(module.register_forward_pre_hook(tracer.enter))
            hooks.append(module.register_forward_hook(tracer.leave(name), with_kwargs=True))
    try:
        with torch.no_grad(), tracer:
            output = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    tracer.finish(output)
    return tracer.calls


class _Tracer(TorchFunctionMode):
    """Notes which call made each tensor. Tensors are kept, so that no later one gets the id of an earlier."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.calls = [Call(0, "input", "input", [], [tuple(images.shape[1:])])]
        self._made: dict[int, tuple[Tensor, int]] = {id(images): (images, 0)}
        self._inside = 0  # of leaf modules: what they call is their own
        self._counted: set[int] = set()

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = self._sources((args, kwargs or {})) if not self._inside else []
        result = func(*args, **(kwargs or {}))
        if given:
            self._note(str(func.__name__), given, args, result)
        return result

    def enter(self, _module: nn.Module, _inputs: Any) -> None:
        """Before the forward of a leaf."""
        self._inside += 1

    def leave(self, name: str) -> Callable[..., None]:
        """What is called after the forward of a leaf."""

        def note(module: nn.Module, inputs: Any, kwargs: Any, output: Any) -> None:
            self._inside -= 1
            call = self._add("module", name, self._sources((inputs, kwargs)), output)
            own = [each for each in module.parameters() if id(each) not in self._counted]
            self._counted |= {id(each) for each in own}
            call.module, call.parameters = module, sum(each.numel() for each in own)

        return note

    def finish(self, output: Any) -> None:
        """Add the outputs: fields of a named tuple by name."""
        names = getattr(output, "_fields", None) or ["output"]
        parts = list(output) if isinstance(output, tuple) else [output]
        for name, part in zip(names, parts, strict=True):
            if sources := self._sources(part):
                self._add("output", name, sources, part)

    def _note(self, name: str, sources: list[int], args: tuple[Any, ...], result: Any) -> None:
        plain = name.strip("_")
        if name in _VIEWS or (plain in _PARTS and len(result) == 1):
            for tensor in _tensors(result):
                self._made[id(tensor)] = (tensor, sources[0])
        elif plain in _PARTS:
            for number, tensor in enumerate(result, start=1):
                self._add("part", f"{number} of {len(result)}", sources, tensor)
        elif any(True for _ in _tensors(result)):
            self._add("operation", self._operation(plain, args), sources, result)

    def _operation(self, name: str, args: tuple[Any, ...]) -> str:
        """``add``, ``cat``; with a number or a tensor that is no image's, ``/ 255`` and ``- constant``."""
        sign = _SIGNS.get(name)
        if sign is None or len(args) < 2 or id(args[1]) in self._made:
            return name
        return f"{sign} {'constant' if isinstance(args[1], Tensor) else args[1]}"

    def _add(self, kind: Any, name: str, sources: list[int], result: Any) -> Call:
        call = Call(len(self.calls), kind, name, sources)
        for tensor in _tensors(result):
            self._made[id(tensor)] = (tensor, call.number)
            call.shapes.append(tuple(tensor.shape[1:]))
        self.calls.append(call)
        return call

    def _sources(self, given: Any) -> list[int]:
        found = [self._made[id(tensor)][1] for tensor in _tensors(given) if id(tensor) in self._made]
        return list(dict.fromkeys(found))


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, dict):
        for each in given.values():
            yield from _tensors(each)
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _tensors(each)
