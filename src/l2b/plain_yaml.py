"""YAML as settings need it: names, numbers, texts and lists, and nothing that can harm."""

from typing import Any

import yaml

DEEPEST = 30  # levels of settings within settings


def plain_yaml(text: str) -> Any:
    """Read YAML without tags, without aliases and without depth, which can fill any memory.

    Raises:
        yaml.YAMLError: if it has one of them, says a key twice, or is no YAML.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
            what = "is nested too deeply" if depth > DEEPEST else "holds an alias, *name"
            raise yaml.YAMLError(f"it {what}")
    loader = _OnceLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _OnceLoader(yaml.SafeLoader):
    """Refuses keys that are said twice, of which YAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        found = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            keys = [str(key.value) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), "a key")
            raise yaml.YAMLError(f"it says {twice} twice in one mapping")
        return found
