"""What stands in the boxes of a diagram: each call in the papers' words."""

from collections.abc import Sequence

from torch import nn

from mer.figure_kinds.call_graph import Call

MERGES = {
    "cat": "concat",
    "stack": "stack",
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
}
_ACTIVATIONS = {"relu": "ReLU", "sigmoid": "sigmoid", "tanh": "tanh", "softmax": "softmax"}
_POOLS = {"max_pool2d": "max pool", "avg_pool2d": "average pool"}


def describe(call: Call) -> str:
    """A call in few words: ``conv 3x3/2, 32``, ``FC 256``, ``batch norm``, ``ReLU``."""
    module = call.module
    if module is None:
        if call.kind == "part":
            return f"part {call.name}"
        known = MERGES | _ACTIVATIONS | _POOLS
        return known.get(call.name) or call.name.replace("_", " ")
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        depthwise = 1 < module.groups == module.in_channels
        what = "depthwise conv" if depthwise else "conv"
        return f"{what} {_window(module)}, {module.out_channels}"
    if isinstance(module, nn.Linear):
        return f"FC {module.out_features}"
    if isinstance(module, nn.RNNBase):
        return f"{name} {module.hidden_size}"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return f"{'max' if 'Max' in name else 'average'} pool {_window(module)}"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return f"average pool to {_sides(module.output_size)}"
    if isinstance(module, nn.Dropout):
        return f"dropout {module.p:g}"
    if name.startswith("BatchNorm"):
        # timm's has its activation inside.
        inside = [type(each).__name__ for each in module.children() if not isinstance(each, nn.Identity)]
        return ", ".join(["batch norm", *inside])
    if isinstance(module, nn.LocalResponseNorm):
        return f"local response norm {module.size}"
    return {"Sigmoid": "sigmoid", "Tanh": "tanh", "Flatten": "flatten", "RefinedReLU": "refined ReLU"}.get(
        name, name
    )


def detail(call: Call) -> str:
    """The name of a module, and what is rare among convolutions: groups and dilation."""
    words, module = [call.name], call.module
    if isinstance(module, nn.Conv2d):
        if 1 < module.groups < module.in_channels:
            words.append(f"{module.groups} groups")
        if set(module.dilation) != {1}:
            words.append(f"dilated {_sides(module.dilation)}")
    return ", ".join(words)


def shape_text(shape: Sequence[int]) -> str:
    """(C, H, W) as height x width x channels; what stands before is of steps."""
    if len(shape) < 3:
        return " x ".join(map(str, shape)) or "1"
    *steps, channels, height, width = shape
    return " x ".join([*map(str, steps), f"{height}x{width}x{channels}"])


def colour(call: Call) -> str:
    """The fill of a call's box, by what it is."""
    module = call.module
    name = type(module).__name__
    if call.kind in ("input", "output"):
        return "#3b4252"
    if call.kind == "part" or call.name in MERGES:
        return "#d8dee9"
    if isinstance(module, nn.Conv2d):
        return "#a9c9e8"
    if isinstance(module, nn.Linear):
        return "#b9dba9"
    if isinstance(module, nn.RNNBase):
        return "#d5b8e3"
    if "Norm" in name:
        return "#f6e3b4"
    if "Pool" in name or call.name in _POOLS:
        return "#f2c6a5"
    if "Dropout" in name:
        return "#eceff4"
    return "#fbe9e7" if module is not None or call.name in _ACTIVATIONS else "#ffffff"


def _window(module: nn.Module) -> str:
    kernel, stride = _sides(getattr(module, "kernel_size", "")), _sides(getattr(module, "stride", ""))
    sides = kernel if "x" in kernel else f"{kernel}x{kernel}"
    return f"{sides}/{stride}"


def _sides(value: object) -> str:
    """A size along both axes; once where they are the same."""
    if not isinstance(value, tuple):
        return str(value)
    return "x".join(map(str, value if len(set(value)) > 1 else value[:1]))
