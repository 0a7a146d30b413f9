"""What ATen's changes of shape, slices, joins and paddings mean in layers."""

import math
from collections.abc import Sequence

from tacit.errors import ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers import build, build_maps
from tacit.lipschitz.readers.aten_arguments import Arguments, Handler, Result
from tacit.lipschitz.readers.build import Builder, Value


def _infer(x: Value, sizes: Sequence[int]) -> Value:
    known = math.prod(1 if size == -1 else size for size in sizes)
    count = math.prod(x.shape)
    if list(sizes).count(-1) > 1 or known < 1 or count % known:
        raise ShapeError(
            f"a tensor of shape {x.shape} cannot be viewed as {tuple(sizes)}"
        )
    return x.reshaped([count // known if size == -1 else size for size in sizes])


def _view(_: Builder, a: Arguments) -> Result:
    return _infer(a.first, a.integers("size" if "size" in a.items else "shape"))


def _flatten(_: Builder, a: Arguments) -> Result:
    x = a.first
    if not x.shape:
        return x.reshaped((1,))
    low, high = (build.axis_of(x, a.integer(n)) for n in ("start_dim", "end_dim"))
    return _infer(x, (*x.shape[:low], -1, *x.shape[high + 1 :]))


def _unflatten(_: Builder, a: Arguments) -> Result:
    x = a.first
    axis = build.axis_of(x, a.integer("dim"))
    return _infer(x, (*x.shape[:axis], *a.integers("sizes"), *x.shape[axis + 1 :]))


def _squeeze(_: Builder, a: Arguments) -> Result:
    x = a.first
    axes = range(len(x.shape)) if "dim" not in a.items else a.integers("dim")
    gone = {build.axis_of(x, axis) for axis in axes}
    return x.reshaped([s for i, s in enumerate(x.shape) if i not in gone or s != 1])


def _unsqueeze(_: Builder, a: Arguments) -> Result:
    x = a.first
    axis = a.integer("dim") % (len(x.shape) + 1)
    return x.reshaped((*x.shape[:axis], 1, *x.shape[axis:]))


def _permute(b: Builder, a: Arguments) -> Result:
    return build.permute(b, a.first, a.integers("dims"))


def _transpose(b: Builder, a: Arguments) -> Result:
    x = a.first
    names = ("dim0", "dim1") if "dim0" in a.items else ("axis0", "axis1")
    one, two = (build.axis_of(x, a.integer(name)) for name in names)
    axes = list(range(len(x.shape)))
    axes[one], axes[two] = two, one
    return build.permute(b, x, axes)


def _reverse(b: Builder, a: Arguments) -> Result:
    x = a.first
    return build.permute(b, x, list(reversed(range(len(x.shape)))))


def _swap(b: Builder, a: Arguments) -> Result:
    return build_maps.swap(b, a.first)


def _movedim(b: Builder, a: Arguments) -> Result:
    x = a.first
    source = [build.axis_of(x, axis) for axis in a.integers("source")]
    target = [build.axis_of(x, axis) for axis in a.integers("destination")]
    rest = iter(axis for axis in range(len(x.shape)) if axis not in source)
    where = dict(zip(target, source, strict=True))
    return build.permute(
        b, x, [where[i] if i in where else next(rest) for i in range(len(x.shape))]
    )


def _expand(b: Builder, a: Arguments) -> Result:
    x, sizes = a.first, a.integers("size")
    spare = len(sizes) - len(x.shape)
    shape = [x.shape[i - spare] if size == -1 else size for i, size in enumerate(sizes)]
    return build.expand(b, x, tuple(shape))


def _slice(b: Builder, a: Arguments) -> Result:
    stop = a.items.get("end")
    low = 0 if a.items.get("start") is None else a.integer("start")
    high = 2**63 - 1 if stop is None else a.integer("end")
    return build.cut(b, a.first, a.integer("dim"), low, high, a.integer("step"))


def _narrow(b: Builder, a: Arguments) -> Result:
    low = a.integer("start")
    return build.cut(b, a.first, a.integer("dim"), low, low + a.integer("length"))


def _pick(b: Builder, x: Value, axis: int, index: int) -> Value:
    axis = build.axis_of(x, axis)
    size = x.shape[axis]
    if not -size <= index < size:
        raise ShapeError(f"index {index} is outside axis {axis} of shape {x.shape}")
    part = build.cut(b, x, axis, index % size, index % size + 1)
    return part.reshaped((*x.shape[:axis], *x.shape[axis + 1 :]))


def _select(b: Builder, a: Arguments) -> Result:
    return _pick(b, a.first, a.integer("dim"), a.integer("index"))


def _unbind(b: Builder, a: Arguments) -> Result:
    x = a.first
    size = x.shape[build.axis_of(x, a.integer("dim"))]
    return [_pick(b, x, a.integer("dim"), index) for index in range(size)]


def _pieces(b: Builder, x: Value, axis: int, sizes: Sequence[int]) -> Result:
    size = x.shape[build.axis_of(x, axis)]
    if sum(sizes) != size or any(part < 1 for part in sizes):
        raise ShapeError(
            f"pieces of {list(sizes)} do not make up axis {axis} of {x.shape}"
        )
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [
        build.cut(b, x, axis, end - part, end)
        for part, end in zip(sizes, ends, strict=True)
    ]


def _equal_pieces(b: Builder, x: Value, axis: int, part: int) -> Result:
    size = x.shape[build.axis_of(x, axis)]
    if part < 1:
        raise ShapeError(f"pieces must have a positive size; got {part}")
    whole, rest = divmod(size, part)
    return _pieces(b, x, axis, [part] * whole + ([rest] if rest else []))


def _chunk(b: Builder, a: Arguments) -> Result:
    x, axis = a.first, a.integer("dim")
    size = x.shape[build.axis_of(x, axis)]
    return _equal_pieces(b, x, axis, -(-size // max(a.integer("chunks"), 1)))


def _split(b: Builder, a: Arguments) -> Result:
    return _equal_pieces(b, a.first, a.integer("dim"), a.integer("split_size"))


def _split_sizes(b: Builder, a: Arguments) -> Result:
    name = "split_sizes" if "split_sizes" in a.items else "split_size"
    return _pieces(b, a.first, a.integer("dim"), a.integers(name))


def _cat(b: Builder, a: Arguments) -> Result:
    return build.concat(b, a.operands("tensors"), a.integer("dim"))


def _stack(b: Builder, a: Arguments) -> Result:
    parts = [build.varying(part) for part in a.operands("tensors")]
    axis = a.integer("dim") % (len(parts[0].shape) + 1)
    widened = [p.reshaped((*p.shape[:axis], 1, *p.shape[axis:])) for p in parts]
    return build.concat(b, widened, axis)


def _pad(b: Builder, a: Arguments) -> Result:
    mode = a.items.get("mode", "constant")
    if mode != "constant" or (a.optional_number("value") or 0.0) != 0.0:
        raise UnsupportedLayerError(
            f"padding is read with zeros only; got mode {mode!r}, value "
            f"{a.items.get('value')}"
        )
    return build_maps.pad(b, a.first, a.integers("pad"))


def _size(_: Builder, a: Arguments) -> Result:
    x = a.first
    return x.shape[build.axis_of(x, a.integer("dim"))]


VIEWS: dict[str, Handler] = {
    "aten.view.default": _view,
    "aten._unsafe_view.default": _view,
    "aten.reshape.default": _view,
    "aten.flatten.using_ints": _flatten,
    "aten.unflatten.int": _unflatten,
    "aten.squeeze.default": _squeeze,
    "aten.squeeze.dim": _squeeze,
    "aten.squeeze.dims": _squeeze,
    "aten.unsqueeze.default": _unsqueeze,
    "aten.permute.default": _permute,
    "aten.transpose.int": _transpose,
    "aten.swapaxes.default": _transpose,
    "aten.t.default": _reverse,
    "aten.numpy_T.default": _reverse,
    "aten.mT.default": _swap,
    "aten.movedim.int": _movedim,
    "aten.movedim.intlist": _movedim,
    "aten.expand.default": _expand,
    "aten.slice.Tensor": _slice,
    "aten.narrow.default": _narrow,
    "aten.select.int": _select,
    "aten.unbind.int": _unbind,
    "aten.chunk.default": _chunk,
    "aten.split.Tensor": _split,
    "aten.split.sizes": _split_sizes,
    "aten.split_with_sizes.default": _split_sizes,
    "aten.cat.default": _cat,
    "aten.concat.default": _cat,
    "aten.stack.default": _stack,
    "aten.constant_pad_nd.default": _pad,
    "aten.pad.default": _pad,
    "aten.sym_size.int": _size,
}
