"""The generic registry: what create, get, list, watch, update and delete mean for every kind alike.

`Store` stands between the handlers and the storage as k8s.io/apiserver's `registry/generic/registry/store.go` does: it
calls the kind's `Strategy` in the right order, looks after the metadata that belongs to the system, and turns updates
into optimistic transactions.

Admission is asynchronous while a storage transaction decides at once. So an update is prepared outside, from the
cached state; the transaction only checks that the state is still the one that was prepared for, and is prepared again
when it is not. A refusal that rests on cached state is checked once against the most recent state before it counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apiserver.api.field_errors import FieldError, field_invalid
from apiserver.api.metatime import format_time
from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, bad_request, conflict, invalid, not_found, success
from apiserver.registry.deletion import Verdict, plan_deletion, returns_object
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.names import (
    GENERATED_NAME_ATTEMPTS,
    generate_name,
    generate_name_conflict,
    storage_key,
)
from apiserver.registry.objects import copy_object
from apiserver.registry.strategy import Finisher, Strategy
from apiserver.storage.errors import check_preconditions
from apiserver.storage.interface import (
    ListOptions,
    ListResult,
    Preconditions,
    Storage,
    StoredObject,
    Watcher,
    WatchOptions,
)

__all__ = ["Deleted", "Result", "Store", "Updated", "Validation"]

Result = StoredObject | Object
"""What a write leaves: the stored object, or a dict when nothing was stored (dry run)."""

Validation = Callable[[Object | None, Object | None], Awaitable[None]]
"""Validating admission: is given the new and the old object, either of which may be missing; raises to refuse."""

Transform = Callable[[Object, int], Awaitable[Object]]
"""From the present object (its own copy; empty when there is none) and its revision (0) to the wanted one."""

CONFLICT = "the object has been modified; please apply your changes to the latest version and try again"
_UPDATE_ATTEMPTS_MAX = 100
"""So many lost races in a row mean that something is wrong; the storage itself gives up earlier."""


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome of an update."""

    result: Result
    created: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """The outcome of a delete: what to answer, and whether the object is gone already."""

    result: Result
    finished: bool


class _MovedError(Exception):
    """The state an update was prepared for is not the present one any more."""

    def __init__(self, obj: Object, revision: int) -> None:
        super().__init__()
        self.obj = obj
        self.revision = revision


class Store:
    """One resource in one version.

    Args:
        resource: in the version that is served.
        storage: where its objects are.
        strategy: what is special to its kind.
    """

    def __init__(self, resource: Resource, storage: Storage, strategy: Strategy) -> None:
        self.resource = resource
        self.storage = storage
        self.strategy = strategy

    def key(self, namespace: str, name: str) -> str:
        """The storage key; raises 400 for names that cannot be part of one."""
        return storage_key(self.resource, namespace, name)

    # Reading

    async def get(self, namespace: str, name: str, resource_version: str = "") -> StoredObject:
        """One object.

        Raises:
            StatusError: NotFound, and what `Storage.get` raises.
        """
        return await self.storage.get(self.resource, self.key(namespace, name), resource_version=resource_version)

    async def list(self, options: ListOptions) -> ListResult:
        """Objects of one namespace or all."""
        return await self.storage.list(self.resource, options)

    async def watch(self, options: WatchOptions) -> Watcher:
        """Changes to them."""
        return await self.storage.watch(self.resource, options)

    # Creating

    async def create(self, context: OperationContext, obj: Object, validate: Validation | None = None) -> Result:
        """Write a new object; `obj` belongs to the store afterwards.

        Raises:
            StatusError: Invalid, AlreadyExists, BadRequest, and whatever validation and storage raise.
        """
        metadata = obj.setdefault("metadata", {})
        if metadata.get("resourceVersion") not in (None, "", "0") and not context.dry_run:
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        await self.strategy.check_rights(context, obj, None)
        if metadata.get("name") or not metadata.get("generateName"):
            return await self._create(context, obj, validate)
        attempt = 0
        while True:
            attempt += 1
            last = attempt == GENERATED_NAME_ATTEMPTS
            try:
                return await self._create(context, obj if last else copy_object(obj), validate)
            except StatusError as error:
                if error.reason != "AlreadyExists" or last:
                    raise

    async def _create(self, context: OperationContext, obj: Object, validate: Validation | None) -> Result:
        metadata = obj["metadata"]
        generated = self._fill_system_fields(context, metadata)
        finish = await self._prepare_create(context, obj, validate)
        try:
            key = self.key(metadata.get("namespace", ""), metadata["name"])
            result = await self._write_new(context, key, obj)
        except BaseException as error:
            await _finish(finish, False)
            if isinstance(error, StatusError) and error.reason == "AlreadyExists":
                raise await self._name_taken(key, metadata["name"], generated, error) from None
            raise
        await _finish(finish, True)
        return result

    def _fill_system_fields(self, context: OperationContext, metadata: dict[str, Any]) -> bool:
        """Whether the name was generated."""
        metadata["creationTimestamp"] = format_time(int(context.clock.now()))
        metadata["uid"] = context.randomness.uuid4()
        metadata.pop("resourceVersion", None)
        if metadata.get("generateName") and not metadata.get("name"):
            metadata["name"] = generate_name(metadata["generateName"], context.randomness)
            return True
        return False

    async def _prepare_create(
        self, context: OperationContext, obj: Object, validate: Validation | None
    ) -> Finisher | None:
        metadata = obj["metadata"]
        self._match_namespace(context, metadata)
        self.strategy.prepare_for_create(context, obj)
        self._raise_invalid(metadata, self.strategy.validate(context, obj))
        for text in self.strategy.warnings_on_create(context, obj):
            context.warn(text)
        finish = await self.strategy.begin_create(context, obj)
        await self._admit(finish, validate, obj, None)
        return finish

    async def _admit(
        self, finish: Finisher | None, validate: Validation | None, obj: Object, old: Object | None
    ) -> None:
        """Validating admission, which sees what was allocated and gives it back when it refuses."""
        if validate is None:
            return
        try:
            await validate(obj, old)
        except BaseException:
            await _finish(finish, False)
            raise

    async def _write_new(self, context: OperationContext, key: str, obj: Object) -> Result:
        if not context.dry_run:
            return await self.storage.create(self.resource, key, obj, ttl_seconds=self.strategy.ttl_seconds(obj))
        if await self._live(key) is not None:
            name = obj["metadata"]["name"]
            message = f'{self._qualified()} "{name}" already exists'
            raise StatusError(
                409, "AlreadyExists", message, group=self.resource.group, kind=self.resource.plural, name=name
            )
        return obj

    async def _name_taken(self, key: str, name: str, generated: bool, error: StatusError) -> StatusError:
        """The error of a create whose name exists already, with what else the client should know."""
        if generated:
            error = generate_name_conflict(self.resource, name)
        existing = await self._live(key)
        if existing is not None and existing.view(self.resource)["metadata"].get("deletionTimestamp"):
            error.message = f"object is being deleted: {error.message}"
        return error

    # Updating

    async def update(
        self,
        context: OperationContext,
        name: str,
        transform: Transform,
        *,
        validate_create: Validation | None = None,
        validate_update: Validation | None = None,
        preconditions: Preconditions | None = None,
        allow_create: bool = False,
        strategy: Strategy | None = None,
    ) -> Updated:
        """Change an object, or create it where the kind (or `allow_create`) lets an update do that.

        Args:
            transform: may be called again, when the object has changed in between.
            strategy: of the subresource that is updated; the kind's own when None.
        """
        strategy = strategy or self.strategy
        key = self.key(context.namespace, name)
        creates = allow_create or strategy.allow_create_on_update
        old, revision = await self._cached(key)
        fresh = False
        for _ in range(_UPDATE_ATTEMPTS_MAX):
            finish: Finisher | None = None
            try:
                if revision == 0 and not creates:
                    raise not_found(self.resource.group, self.resource.plural, name)
                metadata = old.get("metadata") or {}
                version = metadata.get("resourceVersion", "")
                check_preconditions(
                    self.resource, key, preconditions, uid=metadata.get("uid", ""), resource_version=version
                )
                new = await transform(copy_object(old), revision)
                await strategy.check_rights(context, new, old or {"metadata": {}})
                if revision == 0:
                    finish = await self._prepare_create_on_update(context, new, validate_create)
                else:
                    self._check_revision(name, new, revision, strategy)
                    finish = await self._prepare_update(context, strategy, new, old, validate_update)
            except StatusError:
                if fresh:
                    raise
                fresh = True
                present, present_revision = await self._most_recent(key)
                if present_revision == revision:
                    raise
                old, revision = present, present_revision
                continue
            try:
                updated = await self._write_update(context, key, new, old, revision, strategy)
            except _MovedError as moved:
                await _finish(finish, False)
                old, revision = moved.obj, moved.revision
                continue
            except BaseException:
                await _finish(finish, False)
                raise
            await _finish(finish, True)
            return updated
        raise conflict(self.resource.group, self.resource.plural, name, CONFLICT)

    def _check_revision(self, name: str, new: Object, revision: int, strategy: Strategy) -> None:
        metadata = new["metadata"]
        wanted = metadata.get("resourceVersion")
        if wanted in (None, "", "0"):
            if not strategy.allow_unconditional_update:
                error = field_invalid("metadata.resourceVersion", 0, "must be specified for an update")
                raise invalid(self.resource.group, self.resource.plural, name, [error])
            metadata["resourceVersion"] = str(revision)
        elif wanted != str(revision):
            if not wanted.isdecimal():
                text = f'strconv.ParseUint: parsing "{wanted}": invalid syntax'
                error = field_invalid("metadata.resourceVersion", wanted, text)
                raise invalid(self.resource.group, self.resource.plural, name, [error])
            raise conflict(self.resource.group, self.resource.plural, name, CONFLICT)

    async def _prepare_create_on_update(
        self, context: OperationContext, new: Object, validate: Validation | None
    ) -> Finisher | None:
        metadata = new["metadata"]
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(field, None)
        self._fill_system_fields(context, metadata)
        return await self._prepare_create(context, new, validate)

    async def _prepare_update(
        self, context: OperationContext, strategy: Strategy, new: Object, old: Object, validate: Validation | None
    ) -> Finisher | None:
        self._carry_over(context, strategy, new, old)
        metadata = new["metadata"]
        self._raise_invalid(metadata, strategy.validate_update(context, new, old))
        for text in strategy.warnings_on_update(context, new, old):
            context.warn(text)
        finish = await strategy.begin_update(context, new, old)
        await self._admit(finish, validate, new, old)
        return finish

    def _carry_over(self, context: OperationContext, strategy: Strategy, new: Object, old: Object) -> None:
        """Metadata that belongs to the system stays what it is (rest.BeforeUpdate)."""
        metadata, before = new["metadata"], old["metadata"]
        self._match_namespace(context, metadata)
        _keep(metadata, before, "generation")
        strategy.prepare_for_update(context, new, old)
        if not metadata.get("uid"):
            _keep(metadata, before, "uid")
        if before.get("creationTimestamp"):
            _keep(metadata, before, "creationTimestamp")
        if before.get("deletionTimestamp"):
            _keep(metadata, before, "deletionTimestamp")
        if metadata.get("deletionGracePeriodSeconds") is None:
            _keep(metadata, before, "deletionGracePeriodSeconds")

    async def _write_update(
        self, context: OperationContext, key: str, new: Object, old: Object, revision: int, strategy: Strategy
    ) -> Updated:
        if revision and self._deleted_by_update(new, old):
            return await self._finish_deletion(context, key, new, revision)
        if context.dry_run:
            return Updated(new, created=revision == 0)

        def change(present: Object, present_revision: int) -> Object:
            # A state older than the one prepared for comes from a cache that lags behind: the write will fail against
            # the store's true state, and the storage will call again with that.
            if present_revision > revision:
                raise _MovedError(present, present_revision)
            return new

        stored = await self.storage.update(
            self.resource,
            key,
            change,
            create=revision == 0,
            ttl_seconds=strategy.ttl_seconds(new) or None,  # an event lives on when it is counted again
        )
        return Updated(stored, created=revision == 0)

    def _deleted_by_update(self, new: Object, old: Object) -> bool:
        """Whether the update took away the last thing a pending deletion was waiting for."""
        before = old["metadata"]
        if not before.get("deletionTimestamp") or before.get("deletionGracePeriodSeconds"):
            return False
        if new["metadata"].get("finalizers"):
            return False
        return not (self._is_namespace() and (new.get("spec") or {}).get("finalizers"))

    async def _finish_deletion(self, context: OperationContext, key: str, new: Object, revision: int) -> Updated:
        """Delete instead of writing; the client gets the object as it wanted it."""
        if not context.dry_run:

            def unchanged(stored: StoredObject) -> None:
                if stored.revision > revision:
                    raise _MovedError(stored.object_copy(self.resource), stored.revision)

            try:
                await self.storage.delete(self.resource, key, check=unchanged)
            except StatusError as error:
                if error.reason != "NotFound":  # another update may have been first
                    raise
            await self.strategy.after_delete(context, new)
        return Updated(new)

    # Deleting

    async def delete(
        self, context: OperationContext, name: str, options: dict[str, Any], validate: Validation | None = None
    ) -> Deleted:
        """Delete, or begin to (graceful deletion, finalizers).

        Args:
            options: DeleteOptions in JSON form; the grace period that applies is filled in.
        """
        key = self.key(context.namespace, name)
        stored = await self.storage.get(self.resource, key)
        for _ in range(_UPDATE_ATTEMPTS_MAX):
            if validate is not None:
                await validate(None, stored.view(self.resource))
            try:
                return await self._delete(context, key, stored, options)
            except _MovedError:
                stored = await self.storage.get(self.resource, key)
        raise conflict(self.resource.group, self.resource.plural, name, CONFLICT)

    async def _delete(
        self, context: OperationContext, key: str, stored: StoredObject, options: dict[str, Any]
    ) -> Deleted:
        obj = stored.object_copy(self.resource)
        if self._is_namespace():
            step_obj = self._begin_namespace_deletion(context, obj, options)
            if step_obj is not None:
                return Deleted(await self._write_step(context, key, step_obj, stored.revision), finished=False)
            if (obj.get("spec") or {}).get("finalizers"):
                return Deleted(stored, finished=False)
        step = plan_deletion(context, self.strategy, obj, options)
        if step.verdict is Verdict.PENDING:
            return Deleted(self._answer(stored, stored.view(self.resource)), finished=False)
        if step.verdict is Verdict.UPDATE:
            return Deleted(await self._write_step(context, key, step.obj, stored.revision), finished=False)
        if context.dry_run:
            return Deleted(self._answer(step.obj, step.obj), finished=True)
        revision = stored.revision
        if step.verdict is Verdict.UPDATE_THEN_DELETE:
            written = await self._write_step(context, key, step.obj, revision)
            assert not isinstance(written, dict)
            revision = written.revision

        def unchanged(present: StoredObject) -> None:
            if present.revision > revision:  # an older one is a cache's that lags, as in `_write_update`
                raise _MovedError({}, present.revision)

        gone = await self.storage.delete(self.resource, key, check=unchanged)
        view = gone.view(self.resource)
        await self.strategy.after_delete(context, view)
        return Deleted(self._answer(gone, view), finished=True)

    def _begin_namespace_deletion(
        self, context: OperationContext, obj: Object, options: dict[str, Any]
    ) -> Object | None:
        """The first delete of a namespace only makes it Terminating; its content goes first."""
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            return None
        step = plan_deletion(context, self.strategy, copy_object(obj), options)
        if step.obj["metadata"].get("finalizers"):
            metadata["finalizers"] = step.obj["metadata"]["finalizers"]
        else:
            metadata.pop("finalizers", None)
        metadata["deletionTimestamp"] = format_time(int(context.clock.now()))
        if metadata.get("generation"):
            metadata["generation"] += 1
        obj.setdefault("status", {})["phase"] = "Terminating"
        return obj

    async def _write_step(self, context: OperationContext, key: str, obj: Object, revision: int) -> Result:
        if context.dry_run:
            return obj

        def change(present: Object, present_revision: int) -> Object:
            if present_revision > revision:
                raise _MovedError(present, present_revision)
            return obj

        return await self.storage.update(self.resource, key, change)

    def _answer(self, result: Result, view: Object) -> Result:
        if returns_object(self.resource.group, self.resource.plural):
            return result
        metadata = view["metadata"]
        return success(
            group=self.resource.group,
            kind=self.resource.plural,
            name=metadata.get("name", ""),
            uid=metadata.get("uid", ""),
        )

    async def delete_collection(
        self,
        context: OperationContext,
        list_options: ListOptions,
        options: dict[str, Any],
        validate: Validation | None = None,
    ) -> ListResult:
        """Delete everything a list finds; answers with that list. Objects that are gone meanwhile do not matter."""
        result = await self.storage.list(self.resource, list_options)
        namespace = context.namespace
        for item in result.items:
            context.namespace = item.namespace
            try:
                await self.delete(context, item.name, copy_object(options), validate)
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
        context.namespace = namespace
        return result

    # Help

    def _is_namespace(self) -> bool:
        return self.resource.group == "" and self.resource.plural == "namespaces"

    def _qualified(self) -> str:
        return f"{self.resource.plural}.{self.resource.group}" if self.resource.group else self.resource.plural

    def _match_namespace(self, context: OperationContext, metadata: dict[str, Any]) -> None:
        if not self.resource.namespaced:
            metadata.pop("namespace", None)
        elif not metadata.get("namespace"):
            metadata["namespace"] = context.namespace
        elif metadata["namespace"] != context.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _raise_invalid(self, metadata: dict[str, Any], errors: Sequence[FieldError]) -> None:
        if errors:
            raise invalid(self.resource.group, self.resource.kind, metadata.get("name", ""), errors)

    async def _live(self, key: str) -> StoredObject | None:
        try:
            return await self.storage.get(self.resource, key)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None

    async def _most_recent(self, key: str) -> tuple[Object, int]:
        stored = await self._live(key)
        return (stored.object_copy(self.resource), stored.revision) if stored is not None else ({}, 0)

    async def _cached(self, key: str) -> tuple[Object, int]:
        try:
            stored = await self.storage.get(self.resource, key, resource_version="0")
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return await self._most_recent(key)
        return stored.object_copy(self.resource), stored.revision


def _keep(metadata: dict[str, Any], before: dict[str, Any], field: str) -> None:
    if field in before:
        metadata[field] = before[field]
    else:
        metadata.pop(field, None)


async def _finish(finish: Finisher | None, succeeded: bool) -> None:
    if finish is not None:
        await finish(succeeded)
