"""The network whose features FID is defined by, without its weights.

Inception-v3 (Szegedy et al., 2016) as TensorFlow's model of 2015-12-05 computes it. It
differs from later ones in its pooling branches: averages are over what lies inside the
image, and the last block takes maxima.
"""

from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu
from typing_extensions import override

SIZE = 299
"""Height and width of the images."""

DIMENSION = 2048
"""Of the features."""

Pooling = Literal["average", "maximum", "halving"]
"""3 x 3 averages or maxima at every position; maxima at every second one."""

Kernel = int | tuple[int, int]

_BATCH_NORM_EPS = 1e-3
_NOWHERE = "meta"


@final
class Unit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or (int, int)
    stride : {1, 2}
    is_padded : bool
        With zeros, so that at stride 1 the size stays.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Kernel,
        *,
        stride: int = 1,
        is_padded: bool = True,
    ) -> None:
        nn.Module.__init__(self)
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (height, width),
            stride=stride,
            padding=(height // 2, width // 2) if is_padded else 0,
            bias=False,
            device=_NOWHERE,
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS, device=_NOWHERE)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)), inplace=True)


@final
class Block(nn.Module):
    """Branches side by side, their channels joined; the pooling branch is the last.

    Parameters
    ----------
    units : mapping of str to Unit
        By the names they have in the weights' file.
    branches : sequence of sequence of (str or tuple of str)
        Names of the units of each branch, in order; a tuple at its end forks it.
    pooling : {"average", "maximum", "halving"}
        What the last branch does, before unit ``"branch_pool"`` if there is one.
    """

    def __init__(
        self,
        units: dict[str, Unit],
        branches: Sequence[Sequence[str | tuple[str, ...]]],
        pooling: Pooling,
    ) -> None:
        nn.Module.__init__(self)
        for name, unit in units.items():
            self.add_module(name, unit)
        self._branches = branches
        self._pooling: Pooling = pooling
        self._has_pool_unit = "branch_pool" in units

    @override
    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for branch in self._branches:
            values = x
            for step in branch:
                names = (step,) if isinstance(step, str) else step
                results = [self.get_submodule(name)(values) for name in names]
                values = torch.cat(results, 1) if len(results) > 1 else results[0]
            found.append(values)
        pooled = pool(x, self._pooling)
        if self._has_pool_unit:
            pooled = self.get_submodule("branch_pool")(pooled)
        return torch.cat([*found, pooled], 1)


def pool(x: Tensor, pooling: Pooling) -> Tensor:
    """Return 3 x 3 averages or maxima of images.

    Parameters
    ----------
    x : Tensor, shape (batch_size, channels, height, width)
    pooling : {"average", "maximum", "halving"}
        Averages of the pixels that lie inside; maxima of them; maxima at every second
        position, whole windows only.
    """
    if pooling == "average":
        return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    if pooling == "maximum":
        return max_pool2d(x, 3, stride=1, padding=1)
    return max_pool2d(x, 3, stride=2)


def inception_network() -> nn.Sequential:
    """Return the network up to its 2048 features, its weights not made yet.

    Modules have the names they have in ``pt_inception-2015-12-05-6726825d.pth``; that
    file's last layer (``fc``), which FID has no use for, is left out.

    Returns
    -------
    nn.Sequential
        Images (batch_size, 3, 299, 299) of values -1..1 to (batch_size, 2048). On the
        device ``"meta"``: give it weights by ``load_state_dict(..., assign=True)``.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna (2016), Rethinking the Inception
    architecture for computer vision, table 1. Names of the layers and the differences
    in pooling: the packages torchvision (``models/inception.py``) and pytorch-fid
    (``inception.py``).

    Examples
    --------
    >>> from tacit.minimax.gan.features.inception_network import inception_network
    >>> sum(weight.numel() for weight in inception_network().parameters())
    21785568
    """
    network = nn.Sequential()
    for name, module in (
        ("Conv2d_1a_3x3", Unit(3, 32, 3, stride=2, is_padded=False)),
        ("Conv2d_2a_3x3", Unit(32, 32, 3, is_padded=False)),
        ("Conv2d_2b_3x3", Unit(32, 64, 3)),
        ("maxpool1", nn.MaxPool2d(3, stride=2)),
        ("Conv2d_3b_1x1", Unit(64, 80, 1)),
        ("Conv2d_4a_3x3", Unit(80, 192, 3, is_padded=False)),
        ("maxpool2", nn.MaxPool2d(3, stride=2)),
        ("Mixed_5b", _block_35(192, 32)),
        ("Mixed_5c", _block_35(256, 64)),
        ("Mixed_5d", _block_35(288, 64)),
        ("Mixed_6a", _from_35_to_17(288)),
        ("Mixed_6b", _block_17(768, 128)),
        ("Mixed_6c", _block_17(768, 160)),
        ("Mixed_6d", _block_17(768, 160)),
        ("Mixed_6e", _block_17(768, 192)),
        ("Mixed_7a", _from_17_to_8(768)),
        ("Mixed_7b", _block_8(1280, "average")),
        ("Mixed_7c", _block_8(2048, "maximum")),
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
    ):
        network.add_module(name, module)
    return network.eval()


# The blocks are named by the side of the maps they work on.


def _block_35(channels: int, pooled: int) -> Block:
    units = {
        "branch1x1": Unit(channels, 64, 1),
        "branch5x5_1": Unit(channels, 48, 1),
        "branch5x5_2": Unit(48, 64, 5),
        "branch3x3dbl_1": Unit(channels, 64, 1),
        "branch3x3dbl_2": Unit(64, 96, 3),
        "branch3x3dbl_3": Unit(96, 96, 3),
        "branch_pool": Unit(channels, pooled, 1),
    }
    branches = (
        ("branch1x1",),
        ("branch5x5_1", "branch5x5_2"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    )
    return Block(units, branches, "average")


def _from_35_to_17(channels: int) -> Block:
    units = {
        "branch3x3": Unit(channels, 384, 3, stride=2, is_padded=False),
        "branch3x3dbl_1": Unit(channels, 64, 1),
        "branch3x3dbl_2": Unit(64, 96, 3),
        "branch3x3dbl_3": Unit(96, 96, 3, stride=2, is_padded=False),
    }
    branches = (
        ("branch3x3",),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    )
    return Block(units, branches, "halving")


def _block_17(channels: int, inner: int) -> Block:
    row, column = (1, 7), (7, 1)
    units = {
        "branch1x1": Unit(channels, 192, 1),
        "branch7x7_1": Unit(channels, inner, 1),
        "branch7x7_2": Unit(inner, inner, row),
        "branch7x7_3": Unit(inner, 192, column),
        "branch7x7dbl_1": Unit(channels, inner, 1),
        "branch7x7dbl_2": Unit(inner, inner, column),
        "branch7x7dbl_3": Unit(inner, inner, row),
        "branch7x7dbl_4": Unit(inner, inner, column),
        "branch7x7dbl_5": Unit(inner, 192, row),
        "branch_pool": Unit(channels, 192, 1),
    }
    branches = (
        ("branch1x1",),
        ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
        tuple(f"branch7x7dbl_{i}" for i in range(1, 6)),
    )
    return Block(units, branches, "average")


def _from_17_to_8(channels: int) -> Block:
    units = {
        "branch3x3_1": Unit(channels, 192, 1),
        "branch3x3_2": Unit(192, 320, 3, stride=2, is_padded=False),
        "branch7x7x3_1": Unit(channels, 192, 1),
        "branch7x7x3_2": Unit(192, 192, (1, 7)),
        "branch7x7x3_3": Unit(192, 192, (7, 1)),
        "branch7x7x3_4": Unit(192, 192, 3, stride=2, is_padded=False),
    }
    branches = (
        ("branch3x3_1", "branch3x3_2"),
        tuple(f"branch7x7x3_{i}" for i in range(1, 5)),
    )
    return Block(units, branches, "halving")


def _block_8(channels: int, pooling: Pooling) -> Block:
    units = {
        "branch1x1": Unit(channels, 320, 1),
        "branch3x3_1": Unit(channels, 384, 1),
        "branch3x3_2a": Unit(384, 384, (1, 3)),
        "branch3x3_2b": Unit(384, 384, (3, 1)),
        "branch3x3dbl_1": Unit(channels, 448, 1),
        "branch3x3dbl_2": Unit(448, 384, 3),
        "branch3x3dbl_3a": Unit(384, 384, (1, 3)),
        "branch3x3dbl_3b": Unit(384, 384, (3, 1)),
        "branch_pool": Unit(channels, 192, 1),
    }
    branches = (
        ("branch1x1",),
        ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
    )
    return Block(units, branches, pooling)
