"""The rules of a kind, as the generic store applies them to every write.

Order of a create: `default` (after decoding, and again after mutating admission), `check_rights`, `prepare_for_create`,
`validate`, `warnings_on_create`, `begin_create`, the write, the finisher that `begin_create` returned.
Order of an update: `default`, `check_rights`, `prepare_for_update`, `validate_update`, `warnings_on_update`,
`begin_update`, the write, the finisher.

The base class is right for every kind whose rules stand in the tables: the schema, and `KindRules` in
`kinds/rules.py`. Preparing may change `obj`, never `old`; validating changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from apiserver.api.defaults import Defaults, zero_value
from apiserver.api.field_errors import FieldError
from apiserver.api.scheme import Resource, Scheme
from apiserver.api.validation import (
    SchemaValidators,
    semantic_equal,
    validate_object_meta,
    validate_object_meta_update,
)
from apiserver.api.validation.names import NameRule
from apiserver.registry.interface import Object, OperationContext
from apiserver.registry.kinds.rules import KindRules, rules_of

if TYPE_CHECKING:
    from apiserver.registry.kinds.options import KindOptions

__all__ = ["Finisher", "Shared", "StatusStrategy", "Strategy", "SubresourceStrategy"]

Finisher = Callable[[bool], Awaitable[None]]
"""Called once when the write is over: True when it succeeded. Gives back what `begin_…` reserved, or makes it last."""

# What `metav1.ResetObjectMetaForStatus` keeps of the stored object when the status is written.
_METADATA_OF_THE_MAIN_RESOURCE: Final = (
    "deletionTimestamp",
    "generation",
    "selfLink",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
)


class Shared:
    """What the strategies of one server have in common: compiled defaults and validators, and the options."""

    def __init__(self, scheme: Scheme, options: KindOptions) -> None:
        self.scheme = scheme
        self.options = options
        self.defaults = Defaults(scheme)
        self.validators = SchemaValidators(scheme)


class Strategy:
    """The strategy of one resource in one version. Subclasses say what is special to their kind."""

    allow_create_on_update: bool
    allow_unconditional_update: bool

    def __init__(self, resource: Resource, shared: Shared) -> None:
        self.resource = resource
        self.shared = shared
        self.rules: KindRules = rules_of(resource)
        self.allow_create_on_update = self.rules.create_on_update
        self.allow_unconditional_update = self.rules.unconditional_update
        self._default = shared.defaults.function(resource.type_name)
        self._has_status = self.rules.isolates_status and resource.subresource("status") is not None
        self._schema = shared.validators.for_type(resource.type_name)

    def default(self, context: OperationContext, obj: Object) -> None:
        """Fill in the API's defaults, in place. Idempotent; `obj` has been normalized."""
        self._default(obj)

    async def check_rights(self, context: OperationContext, obj: Object, old: Object | None) -> None:
        """Raise `StatusError` when the user may write such objects, but not this one; `old` is None on creation."""

    def prepare_for_create(self, context: OperationContext, obj: Object) -> None:
        """Set what only the server may set: no status yet, generation 1."""
        if self._has_status:
            self.reset_status(obj)
        if self.rules.generation:
            obj["metadata"]["generation"] = 1

    def validate(self, context: OperationContext, obj: Object) -> list[FieldError]:
        """What is wrong with a new object, its metadata included."""
        errors = validate_object_meta(obj["metadata"], self.resource.namespaced, name=self.name_rule(obj))
        errors += self.check(context, obj, None)
        errors += self._schema.validate(obj)
        return errors

    def name_rule(self, obj: Object) -> str | NameRule:
        """Which names the kind allows."""
        return self.rules.name

    def warnings_on_create(self, context: OperationContext, obj: Object) -> list[str]:
        """Texts for Warning headers of a create."""
        return []

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Keep what this way of writing may not change; count the generation."""
        if self._has_status:
            self.keep(obj, old, "status")
        self.count_generation(obj, old)

    def validate_update(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """What is wrong with a changed object, or with the change, its metadata included."""
        errors = validate_object_meta_update(obj["metadata"], old["metadata"])
        errors += self.check(context, obj, old)
        errors += self._schema.validate_update(obj, old)
        return errors

    def warnings_on_update(self, context: OperationContext, obj: Object, old: Object) -> list[str]:
        """Texts for Warning headers of an update."""
        return []

    async def begin_create(self, context: OperationContext, obj: Object) -> Finisher | None:
        """Reserve what the object needs before it is written (addresses, ports); may fill `obj`."""
        return None

    async def begin_update(self, context: OperationContext, obj: Object, old: Object) -> Finisher | None:
        """Likewise for a change."""
        return None

    async def after_delete(self, context: OperationContext, obj: Object) -> None:
        """Give back what the deleted object held."""

    def check_graceful_delete(self, context: OperationContext, obj: Object, options: dict[str, Any]) -> bool:
        """Whether deletion takes time; may set `options["gracePeriodSeconds"]`. Only pods do."""
        return False

    def subresource(self, name: str) -> Strategy | None:
        """The strategy of writes to a subresource that shows the whole object; None when there is none such."""
        if name == "status" and self.resource.subresource("status") is not None:
            return StatusStrategy(self)
        return None

    def ttl_seconds(self, obj: Object) -> int:
        """After how many seconds the store deletes the object; 0 for never."""
        return 0

    def check(self, context: OperationContext, obj: Object, old: Object | None) -> list[FieldError]:
        """The kind's own rules, of a new object (`old` is None) or a changed one. For subclasses."""
        return []

    def check_status(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The kind's own rules of a change of status. For subclasses."""
        return []

    def prepare_status(self, context: OperationContext, obj: Object, old: Object) -> None:
        """What happens to a status on its way in, after spec and metadata were kept. For subclasses."""

    def reset_status(self, obj: Object) -> None:
        """Set the status to its zero value, as a create does."""
        field = self.resource.type.by_json_name["status"]
        if field.go_kind == "pointer":
            obj.pop("status", None)
        else:
            obj["status"] = zero_value(self.shared.scheme, field.type_name)

    def count_generation(self, obj: Object, old: Object) -> None:
        """The generation of `old`, one more when what it counts has changed."""
        metadata, generation = obj["metadata"], old["metadata"].get("generation", 0)
        if self.rules.generation and any(self._changed(obj, old, path) for path in self.rules.generation):
            generation += 1
        if generation:
            metadata["generation"] = generation
        else:
            metadata.pop("generation", None)

    def _changed(self, obj: Object, old: Object, path: str) -> bool:
        if path == "*":  # everything but the metadata
            return any(
                self._changed(obj, old, name) for name in self.resource.type.by_json_name if name not in _TYPE_AND_META
            )
        name, _, inner = path.partition(".")
        if inner:
            return (obj[name].get(inner) or {}) != (old[name].get(inner) or {})
        field = self.resource.type.by_json_name[name]
        return not semantic_equal(self.shared.scheme, field, obj.get(name), old.get(name))

    def keep(self, obj: Object, old: Object, *names: str) -> None:
        """Give members of `obj` the values they have in `old`."""
        for name in names:
            if name in old:
                obj[name] = old[name]
            else:
                obj.pop(name, None)


_TYPE_AND_META: Final = frozenset({"apiVersion", "kind", "metadata"})


class SubresourceStrategy(Strategy):
    """A strategy for updates through a subresource: what is not overridden is that of the main resource."""

    def __init__(self, main: Strategy) -> None:
        super().__init__(main.resource, main.shared)
        self.main = main
        self.allow_create_on_update = False
        self.allow_unconditional_update = main.allow_unconditional_update

    def default(self, context: OperationContext, obj: Object) -> None:
        """As the main resource."""
        self.main.default(context, obj)

    async def check_rights(self, context: OperationContext, obj: Object, old: Object | None) -> None:
        """As the main resource."""
        await self.main.check_rights(context, obj, old)

    def subresource(self, name: str) -> Strategy | None:
        """A subresource has none."""
        return None

    def keep_metadata(self, obj: Object, old: Object) -> None:
        """Give the metadata that belongs to the main resource its old values (`metav1.ResetObjectMetaForStatus`)."""
        self.keep(obj["metadata"], old["metadata"], *_METADATA_OF_THE_MAIN_RESOURCE)


class StatusStrategy(SubresourceStrategy):
    """Writes of `/status`: the spec stays, and of the metadata what the kind says (`KindRules.status_metadata`)."""

    def prepare_for_update(self, context: OperationContext, obj: Object, old: Object) -> None:
        """Everything but the status is that of `old`, except metadata that this kind lets pass."""
        for name in self.resource.type.by_json_name:
            if name != "status" and name not in _TYPE_AND_META:
                self.keep(obj, old, name)
        metadata, old_metadata = obj["metadata"], old["metadata"]
        match self.rules.status_metadata:
            case "reset":
                self.keep_metadata(obj, old)
            case "old":
                obj["metadata"] = {
                    **old_metadata,
                    **{name: metadata[name] for name in ("managedFields", "resourceVersion") if name in metadata},
                }
            case names:
                self.keep(metadata, old_metadata, *names.split())
        self.keep(obj["metadata"], old_metadata, "generation")
        self.main.prepare_status(context, obj, old)

    def validate_update(self, context: OperationContext, obj: Object, old: Object) -> list[FieldError]:
        """The status and the metadata; the rest is as it was."""
        errors = validate_object_meta_update(obj["metadata"], old["metadata"])
        errors += self.main.check_status(context, obj, old)
        errors += self._schema.validate_update(obj, old)
        return errors
