"""What is done to pixels before a network sees them."""

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tacit.errors import InputError, ShapeError
from tacit.minimax.gan.features.interface import check_images

PixelValues = Literal["0..1", "-1..1", "0..255", "imagenet"]
"""Values that black and white pixels become; ``"imagenet"``: see `Preparation`."""

Resampling = Literal["bilinear", "bicubic", "bilinear without antialiasing"]
"""How images are brought to another size."""

# Mean and standard deviation of red, green and blue over ImageNet, of values 0..1:
# what the networks of torchvision expect.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

_MAX_SIZE = 4096


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Preparation:
    r"""What becomes of pixels p in 0..255, in this order.

    1. Values :math:`p / 255`, in float32.
    2. Grey images get three equal channels where three are expected.
    3. Images are brought to ``size``, without regard to their proportions. Bicubic
       values beyond 0..1 are cut.
    4. Values v become v itself (``"0..1"``), :math:`2 v - 1` (``"-1..1"``),
       :math:`255 v` (``"0..255"``), or :math:`(v - \mu_c) / \sigma_c` with
       :math:`\mu = (0.485, 0.456, 0.406)` and :math:`\sigma = (0.229, 0.224, 0.225)` of
       red, green and blue (``"imagenet"``).

    Parameters
    ----------
    values : {"0..1", "-1..1", "0..255", "imagenet"}
        What the network was trained on.
    size : (int, int) or None
        Height and width; None leaves images as they are.
    channels : {1, 3} or None
        Expected; None leaves them as they are.
    resampling : {"bilinear", "bicubic", "bilinear without antialiasing"}
        With antialiasing as Pillow does it; without it every pixel is interpolated from
        at most 4, as old scoring code does.

    Raises
    ------
    InputError
        If a value is none of these.

    Examples
    --------
    >>> import tacit, torch
    >>> preparation = tacit.Preparation(values="-1..1", size=(4, 4), channels=3)
    >>> str(preparation)
    'resized to 4 x 4 (bilinear), 3 channels, values -1..1'
    >>> white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    >>> preparation.apply(white).shape
    torch.Size([1, 3, 4, 4])
    """

    values: PixelValues = "0..1"
    size: tuple[int, int] | None = None
    channels: int | None = None
    resampling: Resampling = "bilinear"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("values", self.values, get_args(PixelValues)),
            ("resampling", self.resampling, get_args(Resampling)),
            ("channels", self.channels, (1, 3, None)),
        ):
            if value not in known:
                accepted = ", ".join(map(repr, known))
                raise InputError(f"{name} must be one of {accepted}; got {value!r}")
        if self.values == "imagenet" and self.channels != 3:
            raise InputError(
                "values 'imagenet' are those of three channels; pass channels=3"
            )
        if self.size is not None and not (
            len(self.size) == 2 and all(1 <= side <= _MAX_SIZE for side in self.size)
        ):
            raise InputError(
                f"size must be a height and a width in 1..{_MAX_SIZE}; got {self.size}"
            )

    def __str__(self) -> str:
        parts: list[str] = []
        if self.size is not None:
            parts.append(f"resized to {self.size[0]} x {self.size[1]} ")
            parts[-1] += f"({self.resampling})"
        if self.channels is not None:
            parts.append(f"{self.channels} channel{'s' if self.channels > 1 else ''}")
        if self.values == "imagenet":
            parts.append("values of ImageNet (mean 0, deviation 1)")
        else:
            parts.append(f"values {self.values}")
        return ", ".join(parts)

    def apply(self, images: Tensor) -> Tensor:
        """Return what the network sees.

        Parameters
        ----------
        images : Tensor, shape (batch_size, channels, height, width)
            uint8.

        Returns
        -------
        Tensor, shape (batch_size, channels, height, width)
            float32 and new, on the same device.

        Raises
        ------
        ShapeError
            If images are no such batch, or in colour where grey is expected.
        InputError
            If they are not uint8.
        """
        check_images(images)
        if self.channels == 1 and images.shape[1] == 3:
            raise ShapeError(
                f"images must be grey (1 channel); got shape {tuple(images.shape)}; "
                "take another extractor"
            )
        found = self._resized(images.to(torch.float32) / 255.0)
        if self.channels is not None and found.shape[1] != self.channels:
            found = found.repeat(1, self.channels, 1, 1)
        if self.values == "-1..1":
            return 2.0 * found - 1.0
        if self.values == "0..255":
            return 255.0 * found
        if self.values == "imagenet":
            mean = found.new_tensor(_MEAN).reshape(1, 3, 1, 1)
            return (found - mean) / found.new_tensor(_DEVIATION).reshape(1, 3, 1, 1)
        return found

    def _resized(self, values: Tensor) -> Tensor:
        if self.size is None or self.size == tuple(values.shape[2:]):
            return values
        is_smoothed = self.resampling != "bilinear without antialiasing"
        found = interpolate(
            values,
            self.size,
            mode="bicubic" if self.resampling == "bicubic" else "bilinear",
            align_corners=False,
            antialias=is_smoothed,
        )
        return found.clamp_(0.0, 1.0) if self.resampling == "bicubic" else found
