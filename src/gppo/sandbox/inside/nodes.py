"""LeetCode's linked lists and binary trees, by value: a list is ``[1, 2, 3]``, a tree its levels ``[1, None, 2]``."""

from collections import deque
from typing import Any

MAX_NODES = 200_000


class ListNode:
    """What LeetCode predefines for linked lists; a program's own class of this name is used instead of it."""

    def __init__(self, val: Any = 0, next: Any = None) -> None:
        self.val = val
        self.next = next


class TreeNode:
    """What LeetCode predefines for binary trees; a program's own class of this name is used instead of it."""

    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val = val
        self.left = left
        self.right = right


def kind_of(value: Any) -> str | None:
    """ "list" for a linked list, "tree" for a binary tree, else None; by class name, as every program defines its
    own."""
    name = type(value).__name__
    if name == "ListNode" and hasattr(value, "val") and hasattr(value, "next"):
        return "list"
    if name == "TreeNode" and hasattr(value, "val") and hasattr(value, "left") and hasattr(value, "right"):
        return "tree"
    return None


def to_plain(value: Any) -> Any:
    """A ListNode or TreeNode as a list; anything else as it is. Raises ValueError on a cycle or past MAX_NODES."""
    kind = kind_of(value)
    if kind == "list":
        return _list_values(value)
    return _tree_values(value) if kind == "tree" else value


def from_plain(values: Any, kind: str, names: dict[str, Any]) -> Any:
    """Build the structure from a list with the ``ListNode`` or ``TreeNode`` of ``names`` (ours where it has none)."""
    if values is None:
        return None
    if kind == "list":
        return _build_list(values, names.get("ListNode", ListNode))
    return _build_tree(values, names.get("TreeNode", TreeNode))


def _list_values(node: Any) -> list[Any]:
    values = []
    while node is not None:
        values.append(node.val)
        node = node.next
        if len(values) > MAX_NODES:
            raise ValueError("a linked list with a cycle or too many nodes")
    return values


def _tree_values(root: Any) -> list[Any]:
    values: list[Any] = []
    queue = deque([root])
    while queue:
        node = queue.popleft()
        if node is None:
            values.append(None)
        else:
            values.append(node.val)
            queue += (node.left, node.right)
        if len(values) > MAX_NODES:
            raise ValueError("a tree with a cycle or too many nodes")
    while values and values[-1] is None:
        values.pop()
    return values


def _build_list(values: list[Any], node_class: Any) -> Any:
    head = None
    for value in reversed(values):
        node = node_class(value)
        node.next = head
        head = node
    return head


def _build_tree(values: list[Any], node_class: Any) -> Any:
    if not values or values[0] is None:
        return None
    root = node_class(values[0])
    parents, rest = deque([root]), iter(values[1:])
    while parents:
        parent = parents.popleft()
        for side in ("left", "right"):
            value = next(rest, None)
            if value is not None:
                child = node_class(value)
                setattr(parent, side, child)
                parents.append(child)
    return root
