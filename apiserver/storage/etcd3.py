"""Objects in an etcd v3 store, one transaction for each write (k8s.io/apiserver `storage/etcd3`).

The value is what kube-apiserver writes: the object in its storage version with resourceVersion and selfLink cleared,
sealed by the resource's transformer with the key as associated data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, internal_error, too_large_resource_version
from apiserver.storage import errors
from apiserver.storage.continue_token import encode_continue
from apiserver.storage.entries import CorruptEntry, Entry, Family, ObjectCodec, RecentObjects
from apiserver.storage.etcd3_watch import Etcd3Watcher
from apiserver.storage.interface import ListOptions, ListResult, Preconditions, UpdateFunction, WatchOptions
from apiserver.storage.keys import collection_prefix, prefix_end
from apiserver.storage.leases import LeaseManager
from apiserver.storage.lost_answers import commit
from apiserver.storage.options import ListPlan, parse_resource_version, plan_list
from apiserver.storage.own_writes import OwnWrites
from apiserver.storage.requests import conditional_delete, conditional_put, failure_kv, get_request
from apiserver.storage.selection import Selection
from apiserver.storage.transform import IDENTITY, TransformerTable, ValueTransformer, identity_table
from kvstore.client import Client
from kvstore.environment import Environment
from kvstore.errors import EtcdError
from kvstore.etcdpb import kv_pb2
from kvstore.etcdpb import rpc_pb2 as pb

__all__ = ["Etcd3Storage"]

PAGE_OBJECTS_MAX: Final = 10_000
"""Most objects read by one Range; a page made larger because a selector left it half empty stops growing here."""

RequestObserver = Callable[[str, str, float], None]


class Etcd3Storage:
    """`Storage` straight on the store.

    The watch cache wraps it and passes what it knows: `cached` is the state of an object to begin with, which may be
    stale, and `own_writes` takes the entries on their way out.

    Args:
        client: the store.
        codec: bytes to and from dicts.
        transformers: which transformer seals a resource.
        observe: told after each request to the store: the operation (get, list, create, update or delete), the
            resource, and the seconds it took.
    """

    def __init__(
        self,
        client: Client,
        codec: ObjectCodec,
        environment: Environment,
        transformers: TransformerTable = identity_table,
        observe: RequestObserver = lambda operation, resource, seconds: None,
    ) -> None:
        self.client = client
        self._observe = observe
        self.environment = environment
        self.own_writes = OwnWrites()
        self._codec = codec
        self._transformers = transformers
        self._leases = LeaseManager(client, environment.clock)
        self._recent = RecentObjects()
        self._families: dict[str, Family] = {}

    def family(self, resource: Resource) -> Family:
        """What entries of the resource have in common, whichever version it is."""
        family = self._families.get(resource.storage_prefix)
        if family is None:
            family = Family(resource.storage_prefix, resource.namespaced, self._codec, self._recent)
            self._families[resource.storage_prefix] = family
        return family

    def transformer(self, resource: Resource) -> ValueTransformer:
        """What seals the resource's values now."""
        return self._transformers(resource.group, resource.plural)

    async def open_all(self, resource: Resource, kvs: Sequence[kv_pb2.KeyValue]) -> list[Entry]:
        """Entries of values read; a value that does not open becomes a `CorruptEntry`."""
        family = self.family(resource)
        transformer = self.transformer(resource)
        if transformer is IDENTITY:
            return [Entry(family, kv.key.decode(), kv.mod_revision, kv.value, lease=kv.lease) for kv in kvs]
        try:
            await transformer.prepare([kv.value for kv in kvs])
        except StatusError as error:
            return [_corrupt(family, kv, error) for kv in kvs]
        return [_open(family, transformer, kv) for kv in kvs]

    async def reopen(self, resource: Resource, entry: CorruptEntry) -> Entry:
        """Try again to open a value that could not be opened; gives another `CorruptEntry` if it still cannot."""
        kv = kv_pb2.KeyValue(key=entry.key.encode(), value=entry.sealed, mod_revision=entry.revision, lease=entry.lease)
        return (await self.open_all(resource, [kv]))[0]

    async def create(self, resource: Resource, key: str, obj: dict[str, Any], *, ttl_seconds: int = 0) -> Entry:
        """See `Storage.create`."""
        if obj["metadata"].get("resourceVersion") not in (None, "", "0"):
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        lease = await self._lease(ttl_seconds)
        data = self._encode(resource, obj)
        response, entry = await self._put(resource, key, obj, data, 0, lease, read_back=False)
        if not response.succeeded:
            raise errors.already_exists(resource, key)
        return entry

    async def get(self, resource: Resource, key: str, *, resource_version: str = "") -> Entry:
        """See `Storage.get`."""
        minimum = parse_resource_version(resource_version)
        response = await self._range("get", resource, get_request(key.encode()))
        if minimum > response.header.revision:
            raise too_large_resource_version(minimum, response.header.revision, 0)
        if not response.kvs:
            raise errors.not_found(resource, key)
        return (await self.open_all(resource, response.kvs))[0]

    async def list(self, resource: Resource, options: ListOptions) -> ListResult:
        """See `Storage.list`."""
        prefix = collection_prefix(resource, options.namespace)
        plan = plan_list(options, prefix)
        selection = Selection(resource, options.namespace, options.labels, options.fields)
        request = pb.RangeRequest(key=plan.start_key.encode(), range_end=prefix_end(prefix.encode()))
        request.revision = plan.exact
        request.limit = plan.limit or PAGE_OBJECTS_MAX
        return await self._list_pages(resource, prefix, plan, selection, request)

    async def update(
        self,
        resource: Resource,
        key: str,
        change: UpdateFunction,
        *,
        preconditions: Preconditions | None = None,
        create: bool = False,
        ttl_seconds: int | None = None,
        cached: Entry | None = None,
    ) -> Entry:
        """See `Storage.update`; begins with `cached` when given."""
        fresh = cached is None
        current = cached if cached is not None else await self._read_current(resource, key, create)
        while True:
            try:
                self._check(resource, key, preconditions, current)
                new = self._changed(resource, change, current)
            except StatusError as refusal:
                if fresh:
                    raise
                current = await self._reread(resource, key, current, refusal, create)
                fresh = True
                continue
            if new is None:
                if fresh:
                    return self._must_exist(resource, key, current)
                current, fresh = await self._read_current(resource, key, create), True
                continue
            lease = await self._update_lease(ttl_seconds, current)
            revision = current.revision if current is not None else 0
            response, entry = await self._put(resource, key, *new, revision, lease, read_back=True)
            if response.succeeded:
                return entry
            current, fresh = await self._state(resource, key, failure_kv(response), create), True

    async def delete(
        self,
        resource: Resource,
        key: str,
        *,
        preconditions: Preconditions | None = None,
        check: Callable[[Entry], None] | None = None,
        cached: Entry | None = None,
    ) -> Entry:
        """See `Storage.delete`; begins with `cached` when given."""
        fresh = cached is None
        current = cached if cached is not None else await self._read_current(resource, key, False)
        while True:
            current = self._must_exist(resource, key, current)
            try:
                self._check(resource, key, preconditions, current)
                if check is not None:
                    check(current)
            except StatusError as refusal:
                if fresh:
                    raise
                current, fresh = await self._reread(resource, key, current, refusal, False), True
                continue
            response = await self._txn("delete", resource, conditional_delete(key.encode(), current.revision))
            if response.succeeded:
                self.own_writes.committed(key.encode(), None, response.header.revision)
                return current.at_revision(response.header.revision)
            current, fresh = await self._state(resource, key, failure_kv(response), False), True

    async def watch(self, resource: Resource, options: WatchOptions) -> Etcd3Watcher:
        """See `Storage.watch`: a stream of its own, without bookmarks."""
        version = parse_resource_version(options.resource_version)
        return Etcd3Watcher(self, resource, options, version)

    async def count(self, resource: Resource) -> int:
        """See `Storage.count`."""
        prefix = collection_prefix(resource).encode()
        request = pb.RangeRequest(key=prefix, range_end=prefix_end(prefix), count_only=True)
        response = await self._range("list", resource, request)
        return response.count

    async def current_revision(self) -> int:
        """See `Storage.current_revision`."""
        try:
            return await self.client.current_revision()
        except EtcdError as error:
            raise errors.from_etcd(error) from error

    async def _list_pages(
        self, resource: Resource, prefix: str, plan: ListPlan, selection: Selection, request: pb.RangeRequest
    ) -> ListResult:
        """Read until the limit is reached or nothing is left, all at the revision of the first answer."""
        items: list[Entry] = []
        while True:
            response = await self._list_range(resource, request, plan, prefix)
            if request.revision == 0:
                if plan.minimum > response.header.revision:
                    raise too_large_resource_version(plan.minimum, response.header.revision, 0)
                request.revision = response.header.revision
            last_key = response.kvs[-1].key.decode() if response.kvs else ""
            more = response.count > len(response.kvs)
            for position, entry in enumerate(await self.open_all(resource, response.kvs)):
                if selection.matches(entry):
                    items.append(entry)
                    if plan.limit and len(items) == plan.limit:
                        last_key = entry.key
                        more = more or position + 1 < len(response.kvs)
                        break
            full = plan.limit > 0 and len(items) >= plan.limit
            if not more or full:
                break
            request.key = last_key.encode() + b"\0"
            request.limit = min(request.limit * 2, PAGE_OBJECTS_MAX)
        if not more:
            return ListResult(items, request.revision)
        token = encode_continue(last_key + "\0", prefix, request.revision)
        remaining = response.count - plan.limit if selection.everything else None
        return ListResult(items, request.revision, token, remaining)

    async def _list_range(
        self, resource: Resource, request: pb.RangeRequest, plan: ListPlan, prefix: str
    ) -> pb.RangeResponse:
        started = self.environment.clock.monotonic()
        try:
            return await self.client.range(request)
        except EtcdError as error:
            if errors.is_compacted(error):
                if plan.continuing:
                    raise errors.continue_expired(request.key.decode(), prefix) from None
                raise errors.list_expired() from None
            if errors.is_future(error):
                current = await self.current_revision()
                raise too_large_resource_version(request.revision, current, 0) from None
            raise errors.from_etcd(error) from error
        finally:
            self._took("list", resource, started)

    async def _range(self, operation: str, resource: Resource, request: pb.RangeRequest) -> pb.RangeResponse:
        started = self.environment.clock.monotonic()
        try:
            return await self.client.range(request)
        except EtcdError as error:
            raise errors.from_etcd(error) from error
        finally:
            self._took(operation, resource, started)

    async def _txn(self, operation: str, resource: Resource, request: pb.TxnRequest) -> pb.TxnResponse:
        started = self.environment.clock.monotonic()
        try:
            return await commit(self.client, self.environment.clock, request)
        except EtcdError as error:
            raise errors.from_etcd(error) from error
        finally:
            self._took(operation, resource, started)

    def _took(self, operation: str, resource: Resource, started: float) -> None:
        name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        self._observe(operation, name, self.environment.clock.monotonic() - started)

    async def _put(
        self,
        resource: Resource,
        key: str,
        obj: dict[str, Any],
        data: bytes,
        revision: int,
        lease: int,
        *,
        read_back: bool,
    ) -> tuple[pb.TxnResponse, Entry]:
        """Write if the key is still at `revision`; the entry is of the new state when it was."""
        store_key = key.encode()
        transformer = self.transformer(resource)
        value = data
        if transformer is not IDENTITY:
            await transformer.prepare(())
            value = transformer.to_storage(data, store_key)
        entry = Entry(self.family(resource), key, 0, data, lease=lease, obj=obj)
        self.own_writes.announce(store_key, value, entry)
        succeeded = False
        try:
            request = conditional_put(store_key, value, revision, lease=lease, read_back=read_back)
            response = await self._txn("update" if revision else "create", resource, request)
            succeeded = response.succeeded
        finally:
            if not succeeded:
                self.own_writes.withdraw(store_key, entry)
        revision = response.header.revision
        if succeeded and entry.revision not in (0, revision):
            # An equal value that somebody else wrote was taken for this one.
            entry = Entry(self.family(resource), key, revision, data, lease=lease)
        elif succeeded:
            entry.commit(revision)
            self.own_writes.committed(store_key, entry, revision)
        return response, entry

    def _encode(self, resource: Resource, obj: dict[str, Any]) -> bytes:
        """The bytes to store. The revision is the store's to give, so it is taken out of the object."""
        metadata = obj["metadata"]
        metadata.pop("resourceVersion", None)
        metadata.pop("selfLink", None)
        return self._codec.encode(resource, obj)

    def _changed(
        self, resource: Resource, change: UpdateFunction, current: Entry | None
    ) -> tuple[dict[str, Any], bytes] | None:
        """What to write instead of `current`, and its bytes; None when that is no change."""
        if current is None:
            new = change({}, 0)
            return None if new is None else (new, self._encode(resource, new))
        new = change(current.object_copy(resource), current.revision)
        if new is None:
            return None
        data = self._encode(resource, new)
        return None if data == current.data and not current.stale else (new, data)

    def _check(self, resource: Resource, key: str, preconditions: Preconditions | None, current: Entry | None) -> None:
        if preconditions is None:
            return
        metadata = current.view(resource)["metadata"] if current is not None else {}
        uid, version = metadata.get("uid", ""), metadata.get("resourceVersion", "")
        errors.check_preconditions(resource, key, preconditions, uid=uid, resource_version=version)

    async def _read_current(self, resource: Resource, key: str, absent_is_fine: bool) -> Entry | None:
        response = await self._range("get", resource, get_request(key.encode()))
        return await self._state(resource, key, response.kvs[0] if response.kvs else None, absent_is_fine)

    async def _reread(
        self, resource: Resource, key: str, stale: Entry | None, refusal: StatusError, absent_is_fine: bool
    ) -> Entry | None:
        """A refusal about a state that may be old: it stands if that is the state of today."""
        current = await self._read_current(resource, key, absent_is_fine)
        if current is not None and stale is not None and current.revision == stale.revision:
            raise refusal
        return current

    def _must_exist(self, resource: Resource, key: str, current: Entry | None) -> Entry:
        if current is None:
            raise errors.not_found(resource, key)
        return current

    async def _state(
        self, resource: Resource, key: str, kv: kv_pb2.KeyValue | None, absent_is_fine: bool
    ) -> Entry | None:
        if kv is None:
            if absent_is_fine:
                return None
            raise errors.not_found(resource, key)
        return (await self.open_all(resource, [kv]))[0]

    async def _update_lease(self, ttl_seconds: int | None, current: Entry | None) -> int:
        if ttl_seconds is None:
            return current.lease if current is not None else 0
        return await self._lease(ttl_seconds)

    async def _lease(self, ttl_seconds: int) -> int:
        if ttl_seconds <= 0:
            return 0
        try:
            return await self._leases.lease(ttl_seconds)
        except EtcdError as error:
            raise errors.from_etcd(error) from error


def _open(family: Family, transformer: ValueTransformer, kv: kv_pb2.KeyValue) -> Entry:
    try:
        data, stale = transformer.from_storage(kv.value, kv.key)
    except StatusError as error:
        return _corrupt(family, kv, error)
    return Entry(family, kv.key.decode(), kv.mod_revision, data, lease=kv.lease, stale=stale)


def _corrupt(family: Family, kv: kv_pb2.KeyValue, error: StatusError) -> CorruptEntry:
    key = kv.key.decode()
    problem = internal_error(f'unable to transform key "{key}": {error.message}')
    return CorruptEntry(family, key, kv.mod_revision, problem, sealed=kv.value, lease=kv.lease)
