"""Which handler serves a path: found segment by segment in dictionaries, however many routes there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

H = TypeVar("H")


class Target(NamedTuple, Generic[H]):
    """A handler, and what its `initialize` is given."""

    handler: type[H]
    arguments: Mapping[str, Any]


@dataclass(slots=True)
class _Node(Generic[H]):
    """The routes that have the same segments so far."""

    target: Target[H] | None = None
    by_text: dict[str, _Node[H]] = field(default_factory=dict)
    parameter: _Node[H] | None = None


class Router(Generic[H]):
    """Finds targets by path.

    A `route` is a path with `{parameters}`, each of which is one segment and not empty. A `pattern` is a regular
    expression of a whole path; patterns are tried one after the other, after the routes.
    """

    def __init__(self, routes: Iterable[tuple[str, Target[H]]], patterns: Iterable[tuple[str, Target[H]]]) -> None:
        """Raises ValueError if two routes fit the same path."""
        self._root: _Node[H] = _Node()
        self._patterns: list[tuple[re.Pattern[str], Target[H]]] = []
        for path, target in routes:
            self._add(path, target)
        for pattern, target in patterns:
            if re.escape(pattern) == pattern:
                self._add(pattern, target)
            else:
                self._patterns.append((re.compile(pattern), target))

    def _add(self, path: str, target: Target[H]) -> None:
        node = self._root
        for segment in path.split("/"):
            if segment.startswith("{"):
                following = node.parameter = node.parameter or _Node()
            else:
                following = node.by_text.setdefault(segment, _Node())
            if node.parameter is not None and node.by_text:
                raise ValueError(f"{path} and another route fit the same path")
            node = following
        if node.target is not None:
            raise ValueError(f"{path} is there twice")
        node.target = target

    def find(self, path: str) -> tuple[Target[H], list[str]] | None:
        """The target of a path, and the texts of its parameters as they are in the path; None if there is none."""
        node = self._root
        parameters: list[str] = []
        for segment in path.split("/"):
            following = node.by_text.get(segment)
            if following is None and segment:
                following = node.parameter
                parameters.append(segment)
            if following is None:
                break
            node = following
        else:
            if node.target is not None:
                return node.target, parameters
        for pattern, target in self._patterns:
            if (match := pattern.fullmatch(path)) is not None:
                return target, list(match.groups())
        return None
