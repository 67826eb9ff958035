"""YAML as recipes need it: 1e-6 is a number, dates stay text, a key given twice is an error."""

import re
from typing import Any

import yaml

# YAML 1.1 wants a dot and a signed exponent in a float, so PyYAML takes 1e-6 for text.
_EXPONENT_FLOAT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
_FLOAT, _TIMESTAMP = "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"


class RecipeLoader(yaml.SafeLoader):
    """SafeLoader with exponent floats and without dates."""


class RecipeDumper(yaml.SafeDumper):
    """SafeDumper that quotes text which RecipeLoader would read as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write repeated values out."""
        return True


RecipeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds Unicode's line breaks like ordinary ones; only escapes in double quotes bring them back.
    style = '"' if any(character in text for character in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


RecipeDumper.add_representer(str, _represent_text)
for _class in (RecipeLoader, RecipeDumper):
    _class.add_implicit_resolver(_FLOAT, _EXPONENT_FLOAT, list("-+.0123456789"))


def parse(text: str) -> tuple[Any, list[str]]:
    """The value that the text describes, and one complaint for each key given twice or not text.

    Values shared through anchors are copied, so that changing one place changes that place only.

    Raises:
        yaml.YAMLError: the text is not YAML.
        RecursionError: an alias contains itself, or the nesting is absurd.
    """
    loader = RecipeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, []
        complaints = list(_key_complaints(node, ""))
        return (None if complaints else _unshared(loader.construct_document(node))), complaints
    finally:
        loader.dispose()


def _key_complaints(node: yaml.Node, place: str) -> list[str]:
    if isinstance(node, yaml.SequenceNode):
        return [text for i, item in enumerate(node.value) for text in _key_complaints(item, f"{place}{i}.")]
    if not isinstance(node, yaml.MappingNode):
        return []
    complaints: list[str] = []
    first_line: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            complaints.append(f"line {line}: a key must be a word, not a list or a section")
            continue
        name = key.value
        if name in first_line:
            complaints.append(f"{place}{name}: given twice (lines {first_line[name]} and {line}); remove one")
        first_line.setdefault(name, line)
        complaints += _key_complaints(value, f"{place}{name}.")
    return complaints


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    return value


def dump(value: Any) -> str:
    """The value as YAML text, keys in their order."""
    return yaml.dump(value, Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
