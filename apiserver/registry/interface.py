"""What is special to a kind: its strategy (k8s.io/apiserver `registry/rest` `RESTCreateStrategy` and its siblings).

`Strategy` is a base class whose behaviour comes from the tables alone and is right for most kinds; a kind with rules of
its own subclasses it in a module of its own and is registered in one table (`registry/kinds/__init__.py`). The generic
store (`registry/store.py`) calls the methods in the order in which they stand here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from apiserver.api.scheme import Resource
from apiserver.request import UserInfo
from kvstore.environment import Clock, Randomness

__all__ = ["Object", "OperationContext", "Reader"]

Object = dict[str, Any]


class Reader(Protocol):
    """Objects of any kind, for strategies and plugins that must look at others. Reads come from the watch cache."""

    async def get(self, group: str, resource: str, namespace: str, name: str) -> Object | None:
        """The object as a dict only to be read, or None."""

    async def list(self, group: str, resource: str, namespace: str = "") -> list[Object]:
        """All objects of a resource (of one namespace when given), only to be read."""

    def follow(self, group: str, resource: str) -> AsyncIterator[Sequence[tuple[Object, bool]]]:
        """All objects in one batch, then batches of those that changed, each with whether it is gone.

        Ends when the server stops, or when the watch breaks: whoever still wants to know begins anew.
        """


@dataclass(slots=True)
class OperationContext:
    """Around one write: who, when, with what help.

    Attributes:
        warn: adds a text for the `Warning` header of the answer.
        reader: other objects.
        dry_run: nothing will be stored; nothing may be allocated for good.
    """

    resource: Resource
    namespace: str
    user: UserInfo
    clock: Clock
    randomness: Randomness
    reader: Reader
    warn: Callable[[str], None]
    dry_run: bool = False
    subresource: str = ""
