"""Expressions as small trees; ``gppo.verify.reader`` makes them from text, ``gppo.verify.values`` evaluates them."""

from dataclasses import dataclass, field
from fractions import Fraction

FUNCTIONS = frozenset(
    {
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
        "ln", "log", "lg", "exp",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """A tree.

    Args:
        kind: "number" (value), "name" and "constant" (text), or an operation on ``parts``: "+", "*", "/", "^", "-"
            (sign), "!", "root" (degree, radicand), "abs", "floor", "ceil", "binomial", or a name of ``FUNCTIONS``.
        parts: operands; of "log" with a base: (base, argument).
    """

    kind: str
    parts: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    text: str = ""
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", 1 + max((part.depth for part in self.parts), default=0))


def names_of(node: Node) -> frozenset[str]:
    """The variables of a tree."""
    if node.kind == "name":
        return frozenset((node.text,))
    return frozenset[str]().union(*(names_of(part) for part in node.parts))


def contains(node: Node, kind: str, text: str = "") -> bool:
    """Whether a tree has a node of this kind (and this text)."""
    if node.kind == kind and text in ("", node.text):
        return True
    return any(contains(part, kind, text) for part in node.parts)


def number(value: Fraction | int) -> Node:
    """A number as a tree."""
    return Node("number", value=Fraction(value))
