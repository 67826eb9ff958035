"""A compiled function that is called many times after its arguments were checked once.

What torch.compile gives looks at every call whether it fits the arguments, and takes apart what holds them. A step of
many small kernels on a CPU is felt to take longer for it. Here one call is made for the checks alone, in which nothing
is computed; those after it go to what inductor made.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class _Found(NamedTuple):
    """What the compiled function came to: what inductor made, its inputs, and stand-ins for its outputs."""

    made: Callable[..., Any]
    inputs: tuple[Any, ...]
    outputs: tuple[object, ...]


class Bindable:
    """Compiles a function at its first binding, and anew for arguments that nothing made so far fits.

    Args:
        function: its arguments are tensors, or hold them, or are constants; it returns new tensors, one or a tuple.
        options: inductor's.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._options = options
        self._compiled: Any = torch.compile(function, fullgraph=True, backend=self._backend)
        self._found: _Found | None = None

    def bind(self, varying: Sequence[Tensor], *fixed: Any, **named: Any) -> Callable[..., Any]:
        """``function(*fixed, *varying, **named)``, as a function of what varies.

        Args:
            varying: tensors; each call gives others of the same shapes and strides.
            fixed: the first arguments. The tensors that they hold now are read at each call.
            named: others.
        """
        said = self._compiled(*fixed, *varying, **named)
        assert self._found is not None
        made, inputs, outputs = self._found
        self._found = None
        at = [_index(inputs, tensor) for tensor in varying]
        order = [_index(outputs, one) for one in (said if isinstance(said, tuple) else (said,))]

        def call(*now: Tensor) -> Any:
            given = list(inputs)
            for i, tensor in zip(at, now, strict=True):
                given[i] = tensor
            results = made(*given)
            return tuple(results[i] for i in order) if isinstance(said, tuple) else results[order[0]]

        return call

    def _backend(self, graph: Any, example: list[Any]) -> Callable[..., Any]:
        from torch._inductor.compile_fx import compile_fx  # takes seconds, which runs without compiling need not wait

        made: Any = compile_fx(graph, example, config_patches=self._options)
        count = len(graph.graph.output_node().args[0])

        def found(*inputs: Any) -> tuple[object, ...]:
            self._found = _Found(made, inputs, tuple(object() for _ in range(count)))
            return self._found.outputs

        return found


def _index(values: Sequence[Any], wanted: Any) -> int:
    return next(i for i, value in enumerate(values) if value is wanted)
