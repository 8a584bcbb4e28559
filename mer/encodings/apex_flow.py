"""Apex flow: TV-L1 flow from onset to apex, with optical strain (LAENet eq 6; STSTNet, OFF-ApexNet)."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from mer.encodings import tvl1
from mer.encodings.eye_mask import inside_eyes
from mer.encodings.scaling import check_choice, min_max
from mer.encodings.tvl1 import TVL1 as TVL1
from mer.errors import MerError
from mer.opencv import import_opencv

Mask = Literal["none", "before", "after"]
Backend = Literal["opencv", "torch"]
BackendChoice = Literal["opencv", "torch", "auto"]


class ApexFlow(nn.Module):
    """The image (u, v, strain) of the motion from the onset frame to the apex frame.

    Args:
        size: side of the square output (28 in LAENet, STSTNet and OFF-ApexNet).
        tau, lambda_, theta, scales, warps, epsilon, inner_iterations, outer_iterations, scale_step,
            median: see ``TVL1``.
        backend: what solves TV-L1: ``opencv``, on the CPU, ``torch``, on the clips' device, or ``auto``:
            torch where there is CUDA, else OpenCV. The two differ by hundredths of a pixel, so the
            attribute, and with it the key of an encoded set, is the one in effect, never ``auto``.
        mask: the eyes (LAENet 2.2.4). ``none``: as they are. ``before``: no motion inside them, before the
            resize and the scaling (ours). ``after``: 0 inside them in the finished image, which reads as
            the strongest motion to the left and up.

    Shape:
        clips (B, 2, C, H, W) with C 1 or 3 (R, G, B), lengths (B,) all 2 -> images (B, 3, size, size). With
        a mask also eyes (B, 2, 6, 2), see ``inside_eyes``.
    """

    reads: ClassVar[Literal["clip", "onset_apex"]] = "onset_apex"
    gives: ClassVar[Literal["image", "sequence"]] = "image"

    def __init__(
        self,
        *,
        size: int = 28,
        tau: float = TVL1.tau,
        lambda_: float = TVL1.lambda_,
        theta: float = TVL1.theta,
        scales: int = TVL1.scales,
        warps: int = TVL1.warps,
        epsilon: float = TVL1.epsilon,
        inner_iterations: int = TVL1.inner_iterations,
        outer_iterations: int = TVL1.outer_iterations,
        scale_step: float = TVL1.scale_step,
        median: int = TVL1.median,
        backend: BackendChoice = "opencv",
        mask: Mask = "none",
    ) -> None:
        super().__init__()
        if size < 1:
            raise MerError(f"encoding.size={size}: give a positive side in pixels")
        check_choice("mask", mask, Mask)
        self.size = size
        self.backend = backend_in_effect(backend)
        self.mask: Mask = mask
        self.params = TVL1(
            tau=tau,
            lambda_=lambda_,
            theta=theta,
            scales=scales,
            warps=warps,
            epsilon=epsilon,
            inner_iterations=inner_iterations,
            outer_iterations=outer_iterations,
            scale_step=scale_step,
            median=median,
        )

    @property
    def masks_eyes(self) -> bool:
        """Whether ``forward`` must be given the eyes."""
        return self.mask != "none"

    def forward(self, clips: Tensor, lengths: Tensor, eyes: Tensor | None = None) -> Tensor:
        """Images (B, 3, size, size) float32, 0..255, of clips (B, 2, C, H, W): onset and apex frame.

        Raises:
            MerError: a clip that does not have exactly two frames, or C is neither 1 nor 3; eyes that are
                missing, not asked for, or no polygons in the frame.
        """
        check_pairs(clips, lengths)
        return apex_flow(
            clips[:, 0],
            clips[:, 1],
            size=self.size,
            params=self.params,
            backend=self.backend,
            mask=self.mask,
            eyes=eyes,
        )


def apex_flow(
    onset: Tensor,
    apex: Tensor,
    *,
    size: int = 28,
    params: TVL1 | None = None,
    backend: Backend = "opencv",
    mask: Mask = "none",
    eyes: Tensor | None = None,
) -> Tensor:
    """The image (u, v, strain) in the order R, G, B: see ``flow_image``.

    Args:
        onset: (B, C, H, W), uint8 or float, 0..255, C 1 (grey) or 3 (R, G, B, turned grey).
        apex: the same shape.
        size: side of the square output.
        params, backend: of TV-L1, see ``tvl1_flow``.
        mask, eyes: see ``flow_image``.

    Returns:
        (B, 3, size, size) float32, 0..255, on the device of ``onset``.
    """
    check_eyes(mask, eyes, len(onset))  # before the flow, which takes long
    flow = tvl1_flow(grey(onset), grey(apex), params=params, backend=backend)
    return flow_image(flow, size=size, mask=mask, eyes=eyes)


def flow_image(flow: Tensor, *, size: int = 28, mask: Mask = "none", eyes: Tensor | None = None) -> Tensor:
    """Flow and its strain, resized, then each channel min-max scaled on its own to 0..255.

    In this order, so that every channel touches 0 and 255, as in all of the published 28x28 images.

    Args:
        flow: (B, 2, H, W) float, (u, v) in pixels.
        size: side of the square output: bilinear, smoothed first where it shrinks.
        mask: where the eyes are masked in all three channels, see ``ApexFlow``. The strain is that of the
            whole flow: the edge of the mask is no motion.
        eyes: (B, 2, 6, 2), in pixels of the flow; None without a mask.

    Returns:
        (B, 3, size, size) of the same type, (u, v, strain), 0..255; a constant channel is 0.

    Raises:
        MerError: a mask without eyes, or eyes without a mask; see also ``inside_eyes``.
    """
    check_eyes(mask, eyes, len(flow))
    channels = torch.cat([flow, optical_strain(flow)], dim=1)
    inside = None if eyes is None else inside_eyes(eyes, *flow.shape[-2:]).to(flow.device)
    if inside is not None and mask == "before":
        channels = channels.masked_fill(inside, 0)
    # From 0 on: resizing keeps a constant only up to rounding, which would be stretched to 0..255.
    channels = channels - channels.amin((2, 3), keepdim=True)
    from kornia.geometry.transform import resize  # as in scaling.py

    resized: Tensor = resize(channels, (size, size), antialias=True)
    image = min_max(resized.flatten(0, 1)[:, None]).view_as(resized)
    if inside is not None and mask == "after":
        # Each pixel that an eye touches: at 28x28 a half-closed eye would fall between the pixels' centres.
        image = image.masked_fill(adaptive_max_pool2d(inside.float(), size) > 0, 0)
    return image


def tvl1_flow(
    first: Tensor, second: Tensor, *, params: TVL1 | None = None, backend: Backend = "opencv"
) -> Tensor:
    """TV-L1 optical flow: ``second(x + u, y + v) = first(x, y)``.

    OpenCV solves on the CPU, as many pairs at a time as ``torch.set_num_threads`` allows; the bytes do not
    depend on it. For torch see ``mer.encodings.tvl1``.

    Args:
        first: (B, 1, H, W), uint8 or float, 0..255.
        second: the same shape.
        params: None is OpenCV's defaults.
        backend: the program that solves.

    Returns:
        (B, 2, H, W) float32, pixels: channel 0 is u (right is positive), channel 1 is v (down is positive),
        on the device of ``first``. The same input gives the same bytes.

    Raises:
        MerError: shapes differ or are not (B, 1, H, W); an unknown backend; OpenCV or its contrib modules
            are missing.
    """
    check_choice("backend", backend, Backend)
    if first.ndim != 4 or first.shape[1] != 1 or first.shape != second.shape:
        raise MerError(
            f"TV-L1 takes two batches of grey images (batch, 1, height, width), "
            f"not {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if backend == "torch":
        return tvl1.tvl1_flow(first, second, options=params)
    solve = partial(flow_of_pair, params=params or TVL1())
    # OpenCV frees the interpreter lock: on two cores it halves the time, more than OpenCV's own threads do.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        flows = list(pool.map(solve, opencv_images(first), opencv_images(second)))
    if not flows:
        return torch.zeros(0, 2, *first.shape[-2:], device=first.device)
    return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous().to(first.device)


def backend_in_effect(backend: BackendChoice) -> Backend:
    """The program that ``auto`` stands for on this machine: torch where there is CUDA, else OpenCV.

    Raises:
        MerError: an unknown backend.
    """
    check_choice("backend", backend, BackendChoice)
    if backend == "auto":
        return "torch" if torch.cuda.is_available() else "opencv"
    return backend


def optical_strain(flow: Tensor) -> Tensor:
    """Magnitude of strain: sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), LAENet eq 6 with the usual squares.

    Central differences inside, one-sided ones on the border, so that it is exact on affine fields everywhere.

    Args:
        flow: (B, 2, H, W) float, (u, v) in pixels, H and W at least 2.

    Returns:
        (B, 1, H, W), pixels a pixel, at least 0.

    Raises:
        MerError: H or W is 1.
    """
    if min(flow.shape[-2:]) < 2:
        raise MerError(
            f"frames of {flow.shape[-1]}x{flow.shape[-2]} pixels have no optical strain, which needs 2x2: "
            "give larger frames, or check the face's box"
        )
    along_y, along_x = torch.gradient(flow, dim=(2, 3))
    u_x, v_x = along_x[:, :1], along_x[:, 1:]
    u_y, v_y = along_y[:, :1], along_y[:, 1:]
    strain: Tensor = (u_x.square() + v_y.square() + (u_y + v_x).square() / 2).sqrt()
    return strain


def check_pairs(clips: Tensor, lengths: Tensor) -> None:
    """Raise MerError unless clips are (B, 2, C, H, W), an onset and an apex frame each, and lengths all 2."""
    if clips.ndim != 5 or clips.shape[1] != 2 or lengths.shape != clips.shape[:1] or (lengths != 2).any():
        raise MerError(
            "this encoding takes two frames a clip, onset and apex, not clips of shape "
            f"{tuple(clips.shape)} with lengths {sorted(set(lengths.flatten().tolist()))}: load the frames "
            "that its class attribute reads names"
        )


def check_eyes(mask: Mask, eyes: Tensor | None, clips: int) -> None:
    """Raise MerError unless each clip's eyes are there where, and only where, a mask asks for them."""
    check_choice("mask", mask, Mask)
    if mask == "none" and eyes is not None:
        raise MerError("encoding.mask=none: eyes were given; choose before or after, or leave them out")
    if mask != "none" and (eyes is None or len(eyes) != clips):
        raise MerError(
            f"encoding.mask={mask}: {'no' if eyes is None else len(eyes)} pairs of eyes for {clips} clips; "
            "give (batch, 2 eyes, 6 points, x and y), in pixels"
        )


def grey(images: Tensor) -> Tensor:
    """Images (B, 1 or 3, H, W) as (B, 1, H, W), 0..255: grey ones as they are, R, G, B as float32 luma."""
    channels = images.shape[1]
    if channels not in (1, 3):
        raise MerError(f"this encoding takes grey or R, G, B frames, not {channels} channels")
    if channels == 1:
        return images
    from kornia.color import rgb_to_grayscale  # as in scaling.py

    luma: Tensor = rgb_to_grayscale(images.float())
    return luma


def flow_of_pair(
    first: NDArray[np.generic], second: NDArray[np.generic], params: TVL1
) -> NDArray[np.float32]:
    """Flow (H, W, 2) of one pair of images as ``opencv_images`` gives them."""
    cv2 = import_opencv()
    if not hasattr(cv2, "optflow"):
        raise MerError(
            "this OpenCV has no TV-L1: pip uninstall opencv-python, then pip install opencv-contrib-python"
        )
    # One solver a pair: it keeps its pyramids inside.
    solver = cv2.optflow.DualTVL1OpticalFlow.create()
    solver.setTau(params.tau)
    solver.setLambda(params.lambda_)
    solver.setTheta(params.theta)
    solver.setScalesNumber(params.scales)
    solver.setWarpingsNumber(params.warps)
    solver.setEpsilon(params.epsilon)
    solver.setInnerIterations(params.inner_iterations)
    solver.setOuterIterations(params.outer_iterations)
    solver.setScaleStep(params.scale_step)
    solver.setMedianFiltering(params.median)
    flow: NDArray[np.float32] = solver.calc(first, second, None)
    return flow


def opencv_images(images: Tensor) -> NDArray[np.generic]:
    """Images (B, 1, H, W) as an array (B, H, W) in the ranges that OpenCV's TV-L1 expects.

    It takes uint8 as it is and multiplies float32 by 255, so floats go in as 0..1.
    """
    plane = images[:, 0].detach().cpu().contiguous()
    array: NDArray[np.generic] = (plane if plane.dtype == torch.uint8 else plane.float() / 255).numpy()
    return array
