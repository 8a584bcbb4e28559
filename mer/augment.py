"""Augmentation of training batches: a fixed pool of variants, one drawn from it, or a drawn affine motion.

What is drawn depends on the seed of the batch alone, never on torch's global generator, so that a fold
trains on the same bytes alone, beside others, or resumed. Kornia moves and equalises the pixels, a whole
batch at a time, where they lie; it is imported when the first batch needs it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from mer.errors import MerError

Equalize = Literal["unrotated", "all", "none"]
Padding = Literal["zeros", "border", "reflection"]
Mirror = Literal["none", "pixels", "flow"]


@runtime_checkable
class Augmentation(Protocol):
    """What :class:`mer.data.module.FoldData` asks of an augmentation. It has to be picklable."""

    def __len__(self) -> int:
        """Times that an epoch sees each training row, each time as another variant."""
        ...

    def apply(self, images: Tensor, variants: Tensor, seed: int, /) -> Tensor:
        """Augmented images of the same shape and range; the given ones stay as they are.

        Args:
            images: (B, C, H, W), or (B, T, C, H, W) for sequences, float32, 0..255. All frames of a
                sequence change alike, and frames of zeros, which pad it, stay zero.
            variants: (B,) int64, below the length.
            seed: of this batch; what is random follows from it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FixedPool:
    """Each training row as every variant of a pool, each once an epoch (OrigiNet, section IV).

    "Each active image is rotated between [-45, 45] degree with an increment of 15 and enhanced by performing
    histogram equalization": read as 7 rotations, of which 0 is the image itself, and the equalised
    image, 8 variants; ``equalize="all"`` is the other reading, 7 rotations of both, 14 variants.

    Equalisation comes before rotation: what fills the corners is not counted in the histogram. It takes
    each channel and each frame on its own. Pixels are moved, not the vectors that a flow image holds.

    Args:
        rotations: degrees about the image's centre, positive counter-clockwise; 0 changes no byte.
        equalize: ``unrotated`` adds the equalised image, ``all`` the equalised image at every rotation.
        padding: what lies outside the image: ``zeros`` (black, as image toolboxes fill it), ``border`` or
            ``reflection``.

    Raises:
        MerError: an option that cannot be.
    """

    rotations: Sequence[float] = (-45, -30, -15, 0, 15, 30, 45)
    equalize: Equalize = "unrotated"
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        """Raise MerError for options that cannot be."""
        if not _are_numbers(self.rotations):
            raise MerError(
                f"augment.rotations={self.rotations!r}: give a list of degrees, as in [-15, 0, 15]"
            )
        if not self.rotations:
            raise MerError("augment.rotations is empty: give at least one angle, [0] for no rotation")
        _check_choice("equalize", self.equalize, get_args(Equalize))
        _check_choice("padding", self.padding, get_args(Padding))

    @property
    def variants(self) -> list[tuple[float, bool]]:
        """(degrees, whether equalised) of each variant: the rotations first, as they were given."""
        equalized = {"none": [], "unrotated": [0.0], "all": self.rotations}[self.equalize]
        return [(angle, False) for angle in self.rotations] + [(angle, True) for angle in equalized]

    def __len__(self) -> int:
        """Variants of the pool."""
        return len(self.variants)

    def apply(self, images: Tensor, variants: Tensor, _seed: int = 0, /) -> Tensor:
        """Image i as variant ``variants[i]``; nothing is drawn. See :meth:`Augmentation.apply`.

        Raises:
            MerError: images outside 0..255, where they are equalised.
        """
        pool = torch.tensor(self.variants, dtype=torch.float32)
        degrees, equalized = pool[variants.cpu()].unbind(1)
        if len(chosen := equalized.nonzero()[:, 0].to(images.device)):
            images = images.index_copy(0, chosen, equalize(images[chosen]))
        # By index, not by where: rotating by 0 would change the pixels by rounding.
        if len(chosen := degrees.nonzero()[:, 0]):
            still = torch.ones(len(chosen)), torch.zeros(len(chosen), 2)
            index = chosen.to(images.device)
            moved = move(images[index], degrees[chosen], *still, padding=self.padding)
            images = images.index_copy(0, index, moved)
        return images


@dataclass(frozen=True, kw_only=True)
class RandomPool(FixedPool):
    """Each training row once an epoch, as a variant drawn from the pool of :class:`FixedPool`.

    Args:
        rotations, equalize, padding: see :class:`FixedPool`.
    """

    def __len__(self) -> int:
        """1: an epoch sees each row once."""
        return 1

    def apply(self, images: Tensor, variants: Tensor, seed: int = 0, /) -> Tensor:
        """Each image as a variant drawn by the seed, all equally likely. See :meth:`Augmentation.apply`."""
        generator = torch.Generator().manual_seed(seed)
        return super().apply(images, torch.randint(len(self.variants), variants.shape, generator=generator))


@dataclass(frozen=True, kw_only=True)
class RandomAffine:
    """Each training row once an epoch, rotated, scaled and shifted; one draw for all frames of a clip.

    The defaults are those of the time-contrasted network (its section 3), uniform in their ranges.

    Args:
        degrees: rotation about the image's centre, -degrees..degrees.
        scale: (lowest, highest) factor about the centre, the same along x and y; above 1 magnifies.
        translate: shift along x and along y, each -translate..translate pixels of the encoded image.
        padding: see :class:`FixedPool`.
        flow: whether the last two channels are a flow field (u, v), whose vectors turn and grow with the
            image; a shift leaves them as they are.
        mirror: half of the draws are mirrored left to right too: ``pixels``; ``flow`` also turns the first
            channel of a flow image (u, v, strain), scaled to 0..255, into 255 - u, the opposite motion.

    Raises:
        MerError: an option that cannot be; ``flow`` for images that hold none.
    """

    degrees: float = 10.0
    scale: Sequence[float] = (0.9, 1.1)
    translate: float = 2.0
    padding: Padding = "zeros"
    flow: bool = False
    mirror: Mirror = "none"

    def __post_init__(self) -> None:
        """Raise MerError for options that cannot be."""
        for name, value in (("degrees", self.degrees), ("translate", self.translate)):
            if not _are_numbers([value]) or value < 0:
                raise MerError(f"augment.{name}={value!r}: give a number, at least 0")
        if not _are_numbers(self.scale) or len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise MerError(
                f"augment.scale={self.scale!r}: give the lowest and the highest factor, as in [0.9, 1.1]"
            )
        _check_choice("padding", self.padding, get_args(Padding))
        _check_choice("mirror", self.mirror, get_args(Mirror))
        if self.flow and self.mirror != "none":
            raise MerError("augment.mirror: frames with their flow are not mirrored; use mirror=none")

    def __len__(self) -> int:
        """1: an epoch sees each row once."""
        return 1

    def apply(self, images: Tensor, variants: Tensor, seed: int = 0, /) -> Tensor:
        """Each image or clip moved by its own draw. See :meth:`Augmentation.apply`."""
        if self.flow and images.shape[-3] != 5:
            raise MerError(
                f"augment.flow=true is for frames with their flow (encoding=frames_and_flow), not for images "
                f"of {images.shape[-3]} channels; use augment=affine"
            )
        generator = torch.Generator().manual_seed(seed)
        turn, grow, *shift = (torch.rand(len(variants), 4, generator=generator) * 2 - 1).unbind(1)
        low, high = self.scale
        degrees, scale = turn * self.degrees, (low + high) / 2 + grow * (high - low) / 2
        if self.mirror != "none":
            images = self._mirror(images, torch.rand(len(variants), generator=generator) < 0.5)
        if (self.degrees, low, high, self.translate) == (0, 1, 1, 0):
            return images
        moved = move(images, degrees, scale, torch.stack(shift, dim=1) * self.translate, padding=self.padding)
        return turn_flow(moved, degrees, scale) if self.flow else moved

    def _mirror(self, images: Tensor, drawn: Tensor) -> Tensor:
        if self.mirror == "flow" and (images.ndim != 4 or images.shape[1] != 3):
            raise MerError(
                "augment.mirror=flow is for images of (u, v, strain), not for "
                f"{tuple(images.shape[1:])}; use mirror=pixels"
            )
        index = drawn.nonzero()[:, 0].to(images.device)
        mirrored = images[index].flip(-1)
        if self.mirror == "flow":
            mirrored[:, 0] = 255 - mirrored[:, 0]
        return images.index_copy(0, index, mirrored)


def move(images: Tensor, degrees: Tensor, scale: Tensor, shift: Tensor, *, padding: Padding) -> Tensor:
    """Images rotated and scaled about their centre, then shifted: bilinear, a clip's frames all alike.

    Args:
        images: (B, C, H, W) or (B, T, C, H, W) float32.
        degrees: (B,) float32, positive counter-clockwise.
        scale: (B,) float32 factors.
        shift: (B, 2) float32, pixels to the right and down.
        padding: see :class:`FixedPool`.
    """
    from kornia.geometry.transform import get_rotation_matrix2d, warp_affine

    height, width = images.shape[-2:]
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(images), 2)
    matrix = get_rotation_matrix2d(centre, degrees, scale[:, None].expand(-1, 2))
    matrix[:, :, 2] += shift
    # Frames as channels: they cannot but move alike.
    planes = images.flatten(1, -3)
    moved: Tensor = warp_affine(planes, matrix.to(images.device), (height, width), padding_mode=padding)
    return moved.reshape(images.shape)


def turn_flow(images: Tensor, degrees: Tensor, scale: Tensor) -> Tensor:
    """Images whose last two channels are a flow field, with its vectors turned and scaled, in place.

    Args:
        images: (B, ..., C, H, W) float32; the flow is u to the right and v down, in pixels.
        degrees: (B,) as in :func:`move`: positive counter-clockwise as one sees it, v pointing down.
        scale: (B,) float32 factors.
    """
    shape = (-1, *[1] * (images.ndim - 3), 1, 1)
    angle = torch.deg2rad(degrees)
    cosine, sine = (
        (scale * part).to(images.device).reshape(shape[:-1]) for part in (angle.cos(), angle.sin())
    )
    u, v = images[..., -2, :, :].clone(), images[..., -1, :, :].clone()
    images[..., -2, :, :] = cosine * u + sine * v
    images[..., -1, :, :] = cosine * v - sine * u
    return images


def equalize(images: Tensor) -> Tensor:
    """Histogram equalisation of each channel on its own, as ``PIL.ImageOps.equalize`` of its 8-bit levels.

    Args:
        images: (..., C, H, W) float32, 0..255.

    Returns:
        The same shape, whole numbers 0..255; a channel with fewer than 255 pixels below its highest level,
        such as a constant one, stays as it is.

    Raises:
        MerError: images outside 0..255.
    """
    from kornia.enhance import equalize as equalize_unit_range

    low, high = (float(bound) for bound in images.aminmax())
    if low <= -1 or high >= 256:  # less is rounding, and levels are truncated
        raise MerError(
            f"augment.equalize: the images reach from {low:g} to {high:g}, but equalisation takes 0..255; "
            "choose an encoding.scale that keeps to it, or augment.equalize=none"
        )
    equalized: Tensor = equalize_unit_range(images / 255) * 255
    return equalized


def _are_numbers(values: object) -> bool:
    return (isinstance(values, Sequence) and not isinstance(values, str)) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise MerError(f"augment.{name}={value!r}: choose one of {', '.join(choices)}")
