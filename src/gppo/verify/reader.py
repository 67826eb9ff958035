r"""Reads one LaTeX expression into a tree: ``2\sqrt{3} + \frac{\pi}{4}``, ``(x-1)^2``, ``\log_2 8``.

Only what has one meaning is read. Where people disagree (``1/2x``, ``f(x)``), and at sums and integrals, the reader
gives up, and computer algebra may decide. Depth and length are bounded, so this is safe in the calling process.
"""

import re
from fractions import Fraction

from gppo.verify.expression import FUNCTIONS, Node, number

MAX_CHARS = 1000
_MAX_DEPTH = 40
_MAX_TREE_DEPTH = 80
_MAX_DIGITS = 2000

_LETTERS = frozenset(
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma",
        "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell",
    }
)  # fmt: skip
_FENCES = {"lfloor": "floor", "lceil": "ceil", "lvert": "abs"}
# A letter before brackets is a factor, save these, which are functions by habit.
_FUNCTION_NAMES = frozenset("fghFGHP")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:\\overline\s*\{\s*\d+\s*\})?(?:[eE][-+]?\d{1,4}(?![\d.]))?)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<sign>\*\*|[-+*/^_!%(){}|\[\]])"
    r"|(?P<letter>[A-Za-z](?:_(?:\{\s*\w{1,8}\s*\}|\w))?'*))"
)
_NUMBER = re.compile(
    r"(?P<whole>\d*)\.?(?P<decimals>\d*)(?:\\overline\s*\{\s*(?P<period>\d+)\s*\})?(?:[eE](?P<power>.+))?"
)
_ENDS_FACTOR = frozenset(
    [")", "}", "|", "]", "+", "-", "*", "**", "/", "^", "!", "%", r"\cdot", r"\times", r"\div"]
) | {r"\rfloor", r"\rceil", r"\rvert"}


class UnreadableError(ValueError):
    """The text is no expression that has one meaning."""


def read_expression(text: str) -> Node | None:
    """The tree of a normalised text, or None where it is no single expression, or one with more than one meaning."""
    if len(text) > MAX_CHARS:
        return None
    try:
        node = _Reader(text).read()
    except UnreadableError:
        return None
    return node if node.depth <= _MAX_TREE_DEPTH else None  # 9!!!!!... is deep without a bracket


class _Reader:
    """Recursive descent: sum -> product -> signed -> power -> postfix -> atom."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if not match:
                raise UnreadableError(text)
            self._tokens.append(re.sub(r"[\s{}]", "", match["letter"]) if match["letter"] else match.group().strip())
            position = match.end()
        self._at = 0
        self._depth = 0
        self._bars = 0

    def read(self) -> Node:
        node = self._sum()
        if self._at < len(self._tokens):
            raise UnreadableError(self._next)
        return node

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *signs: str) -> str:
        sign = self._next
        if sign not in signs:
            return ""
        self._at += 1
        return sign

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise UnreadableError(sign)

    def _sum(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadableError("too deep")
        terms = [self._product()]
        while sign := self._take("+", "-"):
            term = self._product()
            terms.append(term if sign == "+" else Node("-", (term,)))
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Node("+", tuple(terms))

    def _product(self) -> Node:
        node, slashed = self._signed(), False
        while True:
            if self._take("*", r"\cdot", r"\times"):
                node = Node("*", (node, self._signed()))
            elif self._take("/", r"\div"):
                node, slashed = Node("/", (node, self._signed())), True
            elif self._starts_factor():
                if slashed:  # 1/2x: half of x, or one over 2x
                    raise UnreadableError("product after a slash")
                node = Node("*", (node, self._power()))
            else:
                return node

    def _starts_factor(self) -> bool:
        sign = self._next
        if not sign or sign in _ENDS_FACTOR or sign[0].isdigit() or sign[0] == ".":
            return sign == "|" and not self._bars
        return True

    def _signed(self) -> Node:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        node = self._power()
        return Node("-", (node,)) if negative else node

    def _power(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadableError("too deep")
        node = self._postfix()
        while self._take("^", "**"):
            if self._next == r"\circ":
                self._at += 1
                node = _degrees(node)
                continue
            if self._next == "{" and self._tokens[self._at + 1 : self._at + 3] == [r"\circ", "}"]:
                self._at += 3
                node = _degrees(node)
                continue
            node = Node("^", (node, self._exponent()))
        while self._take("%"):
            node = Node("/", (node, number(100)))
        self._depth -= 1
        return node

    def _exponent(self) -> Node:
        if self._next == "{":
            return self._group()
        negative = bool(self._take("-"))  # 2^-3, as plain text writes it
        node = self._postfix()
        if self._take("^", "**"):  # 2^3^2 is 2^(3^2)
            node = Node("^", (node, self._exponent()))
        return Node("-", (node,)) if negative else node

    def _postfix(self) -> Node:
        node = self._atom()
        while sign := self._take("!", "%"):
            node = Node("!", (node,)) if sign == "!" else Node("/", (node, number(100)))
        return node

    def _atom(self) -> Node:
        sign = self._next
        self._at += 1
        if sign == "(":
            return self._until(")")
        if sign == "[":
            return self._until("]")
        if sign == "{":
            self._at -= 1
            return self._group()
        if sign == "|":
            self._bars += 1
            node = self._until("|")
            self._bars -= 1
            return Node("abs", (node,))
        if sign[:1] == "\\":
            return self._command(sign[1:])
        if sign[:1].isdigit() or sign[:1] == ".":
            return self._number(sign)
        if sign[:1].isalpha():
            return self._letter(sign)
        raise UnreadableError(sign)

    def _until(self, closer: str) -> Node:
        node = self._sum()
        self._need(closer)
        return node

    def _group(self) -> Node:
        self._need("{")
        return self._until("}")

    def _argument(self) -> Node:
        r"""What follows \frac, \sqrt or \binom: braces, or one digit or letter."""
        if self._next == "{":
            return self._group()
        if self._next[:1].isalpha() or (self._next.isdigit() and len(self._next) == 1):
            return self._atom()
        if self._next[:1] == "\\" and self._next[1:] in ("pi", *_LETTERS):
            return self._atom()
        raise UnreadableError(self._next)

    def _command(self, name: str) -> Node:
        if name == "frac":
            top = self._argument()
            return Node("/", (top, self._argument()))
        if name == "binom":
            top = self._argument()
            return Node("binomial", (top, self._argument()))
        if name == "sqrt":
            degree = self._until("]") if self._take("[") else number(2)
            return Node("root", (degree, self._argument()))
        if name in _FENCES:
            return Node(_FENCES[name], (self._until("\\r" + name[1:]),))
        if name == "pi":
            return Node("constant", text="pi")
        if name in _LETTERS:
            return self._name(f"{name}_{self._subscript()}" if self._take("_") else name)
        if name in FUNCTIONS:
            return self._function(name)
        raise UnreadableError(name)

    def _function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self._take("_"):
            base = self._base()
        if self._take("^"):
            power = self._group() if self._next == "{" else self._atom()
        argument = self._function_argument()
        if power is not None and power.kind == "-" and power.parts[0] == number(1):
            if f"arc{name}" not in FUNCTIONS:
                raise UnreadableError(name)
            return Node(f"arc{name}", (argument,))
        node = Node(name, (argument,) if base is None else (base, argument))
        return node if power is None else Node("^", (node, power))

    def _base(self) -> Node:
        token = self._next
        if token.isdigit() and len(token) > 1:  # LaTeX puts one digit below the line: \log_28 is \log_2 8
            self._tokens[self._at : self._at + 1] = [token[0], token[1:]]
        return self._group() if token == "{" else self._atom()

    def _function_argument(self) -> Node:
        if self._next in ("(", "["):
            return self._power()
        node = self._signed()
        while self._starts_factor() and self._next not in ("(", "[") and self._next[1:] not in FUNCTIONS:
            node = Node("*", (node, self._power()))
        return node

    def _letter(self, sign: str) -> Node:
        if sign == "e":
            return Node("constant", text="e")
        if sign == "i":
            return Node("constant", text="i")
        return self._name(sign)

    def _name(self, name: str) -> Node:
        if self._next == "(":
            inner = self._tokens[self._at + 1 : self._at + 3]
            single = len(inner) == 2 and inner[1] == ")"
            if name[0] in _FUNCTION_NAMES or single or "'" in name:
                raise UnreadableError("a function or a product")
        return Node("name", text=name)

    def _subscript(self) -> str:
        braced = self._take("{")
        token = self._next
        self._at += 1
        if not token.isalnum():
            raise UnreadableError(token)
        if braced:
            self._need("}")
        return token

    def _number(self, token: str) -> Node:
        node = number(_decimal(token))
        mixed = self._tokens[self._at : self._at + 7]
        if token.isdigit() and mixed[:2] == [r"\frac", "{"] and len(mixed) == 7 and mixed[2].isdigit():
            if mixed[5].isdigit() and mixed[6] == "}":
                return Node("+", (node, self._atom()))  # 1\frac{4}{5} is one and four fifths
            raise UnreadableError(token)
        return node


def _degrees(node: Node) -> Node:
    return Node("*", (node, Node("/", (Node("constant", text="pi"), number(180)))))


def _decimal(token: str) -> Fraction:
    match = _NUMBER.fullmatch(token)
    if not match or len(token) > _MAX_DIGITS:
        raise UnreadableError(token)
    whole, decimals, period = match["whole"], match["decimals"], match["period"]
    scale = 10 ** len(decimals)
    value = Fraction(int(whole + decimals or "0"), scale)
    if period:
        value += Fraction(int(period), scale * (10 ** len(period) - 1))
    if match["power"]:
        power = int(match["power"])
        if abs(power) > _MAX_DIGITS:
            raise UnreadableError(token)
        value *= Fraction(10) ** power
    return value
