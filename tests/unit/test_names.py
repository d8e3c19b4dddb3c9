"""A name stands for one thing: what is called alike is alike, wherever in the house it is read."""

import ast
from collections import defaultdict

from tests.unit.test_layers import TREES


def public_names(kinds):
    """Name -> modules that define it at their top level."""
    homes = defaultdict(list)
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                homes[node.name].append(name)
    return homes


def test_no_public_class_is_defined_twice():
    homes = public_names(ast.ClassDef)
    assert len(homes) > 250
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}
