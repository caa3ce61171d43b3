"""Every way to break one place of a template: remove a node, or change a value."""

from __future__ import annotations

import copy
import functools
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
Change = Callable[[Any, Any], None]
_CONDITIONAL = "Fn::If"


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        path: where, from the document's root.
        kind: ``delete``, or ``-> value`` of what was there.
    """

    path: Path
    kind: str
    _change: Change

    def __str__(self) -> str:
        return f"{'/'.join(map(str, self.path))}: {self.kind}"

    def applied(self, source: dict[str, Any]) -> dict[str, Any]:
        """A changed copy."""
        changed = copy.deepcopy(source)
        container: Any = changed
        for step in self.path[:-1]:
            container = container[step]
        self._change(container, self.path[-1])
        return changed


def mutations(source: dict[str, Any], part: Path) -> Iterator[Mutation]:
    """All mutations at and below one part of a template."""
    node: Any = source
    for step in part:
        node = node[step]
    yield from _below(_Names(source), node, part)


def _below(names: _Names, node: Any, path: Path) -> Iterator[Mutation]:
    yield Mutation(path, "delete", operator.delitem)
    for value in _instead(names, node, path):
        yield Mutation(path, f"-> {value!r}", functools.partial(_set, value))
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _below(names, child, (*path, key))


def _set(value: Any, container: Any, key: Any) -> None:
    container[key] = value


def _instead(names: _Names, node: Any, path: Path) -> Iterator[Any]:
    """Other values: wrong, and well-formed wherever that is possible."""
    inside = path[-1] if path else None
    if isinstance(node, bool):
        yield not node
    elif isinstance(node, int):
        yield from {node + 1, node - 1, node * 2, node // 2} - {node}
    elif isinstance(node, str):
        if node in ("true", "false"):
            yield "false" if node == "true" else "true"
        elif inside in ("Ref", "Fn::GetAtt", "Condition", "DependsOn") or path[-2:-1] == ("Fn::GetAtt",):
            yield names.other(node)
        elif inside == "Fn::Sub":
            for found in re.finditer(r"\$\{([^}]+)}", node):
                yield node[: found.start(1)] + names.other(found[1]) + node[found.end(1) :]
            yield f"{node}x"
        elif path[-2:] == (_CONDITIONAL, 0):
            yield names.other(node)
        else:
            yield f"{node}x"
    elif isinstance(node, list) and inside == _CONDITIONAL:
        yield [node[0], node[2], node[1]]
    elif isinstance(node, dict) and node.keys() == {"Fn::Not"}:
        yield node["Fn::Not"][0]


class _Names:
    """What a template can refer to; each name has another of its kind to be mistaken for."""

    def __init__(self, source: dict[str, Any]) -> None:
        by_type: dict[str, list[str]] = {}
        for name, resource in source["Resources"].items():
            by_type.setdefault(resource["Type"], []).append(name)
        # Two queues can be mistaken for each other, of most other types there is one.
        alone = [names[0] for names in by_type.values() if len(names) == 1]
        circles = [alone, *(names for names in by_type.values() if len(names) > 1)]
        circles += [list(source[section]) for section in ("Parameters", "Conditions")]
        circles += [["AWS::AccountId", "AWS::Region", "AWS::StackName", "AWS::Partition", "AWS::URLSuffix"]]
        self._other = {
            name: circle[(place + 1) % len(circle)] for circle in circles for place, name in enumerate(circle)
        }

    def other(self, name: str) -> str:
        resource, dot, attribute = name.partition(".")
        # A name that is not there: an attribute of a reference, or a resource that only SAM makes.
        return f"{self._other.get(resource, resource + 'x')}{dot}{attribute}"
