"""The scenarios. Where etcd 3.5.1 and later releases differ is in the unit tests of the Auth service instead."""

from __future__ import annotations

from kvstore.etcdpb import auth_pb2
from kvstore.etcdpb import rpc_pb2 as pb
from tests.conformance.auth.suite import READ, READWRITE, ROOT_PASSWORD, WRITE, Recorder, permission, scenario


@scenario
async def run_on_and_off(run: Recorder) -> None:
    assert await run("Auth/AuthEnable") is None
    await run("Auth/UserAdd", name="root", password=ROOT_PASSWORD)
    assert await run("Auth/AuthEnable") is None
    assert await run("Auth/Authenticate", name="root", password=ROOT_PASSWORD) is None
    await run("Auth/UserGrantRole", user="root", role="root")
    await run("Auth/AuthDisable")
    await run("Auth/AuthStatus")
    await run("Auth/AuthEnable")
    await run("Auth/AuthEnable")
    assert await run.login("root", ROOT_PASSWORD)
    await run("Auth/AuthEnable", "root")
    assert (await run("Auth/AuthStatus", "root")).enabled
    await run("Auth/AuthDisable", "root")
    assert not (await run("Auth/AuthStatus")).enabled


@scenario
async def run_users(run: Recorder) -> None:
    no_password = auth_pb2.UserAddOptions(no_password=True)
    for name in ("b", "a", "é", "a", ""):
        await run("Auth/UserAdd", name=name, password="x")
    await run("Auth/UserAdd", name="c", options=no_password)
    await run("Auth/UserAdd", name="d", options=auth_pb2.UserAddOptions())
    assert (await run("Auth/UserList")).users == ["a", "b", "c", "d", "é"]
    for name in ("a", "nobody", ""):
        await run("Auth/UserGet", name=name)
        await run("Auth/UserChangePassword", name=name, password="y")
        await run("Auth/UserDelete", name=name)
        await run("Auth/UserDelete", name=name)
    await run("Auth/UserChangePassword", name="c", password="y")
    await run("Auth/UserChangePassword", name="b", hashedPassword="not base64")
    await run("Auth/UserChangePassword", name="b")
    await run("Auth/UserAdd", name="e", hashedPassword="not base64")
    await run("Auth/AuthStatus")


@scenario
async def run_roles(run: Recorder) -> None:
    for name in ("b", "a", "a", "", "root"):
        await run("Auth/RoleAdd", name=name)
    assert (await run("Auth/RoleList")).roles == ["a", "b", "root"]
    for name in ("a", "nothing", ""):
        await run("Auth/RoleGet", role=name)
        await run("Auth/RoleDelete", role=name)
    await run("Auth/UserAdd", name="u", password="x")
    for user, role in (("u", "b"), ("u", "b"), ("u", "root"), ("u", "a"), ("v", "b"), ("", ""), ("v", "a")):
        await run("Auth/UserGrantRole", user=user, role=role)
    assert (await run("Auth/UserGet", name="u")).roles == ["b", "root"]
    for name, role in (("u", "a"), ("v", "b"), ("u", "root"), ("u", "root")):
        await run("Auth/UserRevokeRole", name=name, role=role)
    await run("Auth/RoleDelete", role="b")
    assert (await run("Auth/UserGet", name="u")).roles == []
    await run("Auth/RoleAdd", name="b")
    assert (await run("Auth/UserGet", name="u")).roles == []
    await run("Auth/AuthStatus")


@scenario
async def run_permissions_of_a_role(run: Recorder) -> None:
    await run("Auth/RoleAdd", name="r")
    await run("Auth/RoleGrantPermission", name="r")
    await run("Auth/RoleGrantPermission", name="none", perm=permission(READ, b"a"))
    for kind, key, end in (
        (READ, b"m", b""),
        (WRITE, b"a", b"c"),
        (READWRITE, b"z", b"\0"),
        (READ, b"\0", b"\0"),
        (WRITE, b"m", b""),
        (READ, b"m", b"n"),
        (READWRITE, b"m", b"n"),
        (READWRITE, b"m", b""),
        (READ, b"\xff\xfe", b""),
    ):
        await run("Auth/RoleGrantPermission", name="r", perm=permission(kind, key, end))
        await run("Auth/RoleGet", role="r")
    for role, key, end in (
        ("r", b"m", b""),
        ("r", b"m", b"o"),
        ("r", b"a", b""),
        ("none", b"a", b""),
        ("r", b"z", b"\0"),
    ):
        await run("Auth/RoleRevokePermission", role=role, key=key, range_end=end)
    assert len((await run("Auth/RoleGet", role="r")).perm) == 5
    await run("Auth/AuthStatus")


@scenario
async def run_authenticate(run: Recorder) -> None:
    await run.make_root()
    await run("Auth/UserAdd", "root", name="u", password="x")
    await run("Auth/UserAdd", "root", name="n", options=auth_pb2.UserAddOptions(no_password=True))
    for name, password in (("u", ""), ("u", "y"), ("v", "x"), ("", ""), ("n", ""), ("n", "x"), ("u", "X")):
        assert not await run.login(name, password)
    assert await run.login("u", "x")
    assert run.token("u") != run.token("root")
    await run("KV/Range", "u", key=b"a")
    token = run.token("u")
    for metadata in (
        {"authorization": token},
        {"token": "no token"},
        {"token": "x" + token},
        {"token": token.partition(".")[0]},
        {"token": token.partition(".")[0] + ".1"},
        {"token": ""},
        {"authorization": f"Basic {token}"},
    ):
        said = len(run.transcript)
        await run("KV/Range", metadata=metadata, key=b"a")
        # The token is in no answer.
        assert token.partition(".")[0] not in run.transcript[said]


@scenario
async def run_tokens_end(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READ, b"a"))
    await run("KV/Range", "u", key=b"a")
    await run("Auth/UserChangePassword", "root", name="u", password="y")
    assert await run("KV/Range", "u", key=b"a") is None
    await run.login("u", "y")
    await run("KV/Range", "u", key=b"a")
    await run("Auth/UserDelete", "root", name="u")
    assert await run("KV/Range", "u", key=b"a") is None
    await run("Auth/UserAdd", "root", name="u", password="y")
    assert await run("KV/Range", "u", key=b"a") is None
    await run("Auth/AuthDisable", "root")
    await run("Auth/AuthEnable")
    assert await run("KV/Range", "root", key=b"a") is None


@scenario
async def run_keys(run: Recorder) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        await run("KV/Put", key=key, value=b"v")
    await run.make_root()
    await run.make_user("u", permission(READ, b"a", b"c"), permission(WRITE, b"b", b"d"))
    await run.make_user("none")
    for by in ("u", "none", "root", ""):
        for key, end in (
            (b"a", b""),
            (b"a", b"c"),
            (b"a", b"b\xff"),
            (b"a", b"c\0"),
            (b"a", b"\0"),
            (b"\0", b"\0"),
            (b"c", b""),
            (b"b", b"a"),
            (b"b", b"b"),
        ):
            for serializable in (False, True):
                await run("KV/Range", by, key=key, range_end=end, serializable=serializable)
            await run("KV/DeleteRange", by, key=key + b"x", range_end=end)
            await run("KV/DeleteRange", by, key=key + b"x", range_end=end, prev_kv=True)
        for key in (b"a", b"b", b"c", b"d"):
            await run("KV/Put", by, key=key, value=b"w")
            await run("KV/Put", by, key=key, prev_kv=True)
            await run("KV/Put", by, key=key, ignore_value=True)
        await run("KV/Range", by)
        await run("KV/Put", by)


@scenario
async def run_transactions(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READ, b"a", b"c"), permission(WRITE, b"b", b"d"))
    operations = {
        "read": pb.RequestOp(request_range=pb.RangeRequest(key=b"a")),
        "read too much": pb.RequestOp(request_range=pb.RangeRequest(key=b"c")),
        "write": pb.RequestOp(request_put=pb.PutRequest(key=b"c")),
        "write too much": pb.RequestOp(request_put=pb.PutRequest(key=b"a")),
        "write and read": pb.RequestOp(request_put=pb.PutRequest(key=b"b", prev_kv=True)),
        "delete": pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"b", range_end=b"d")),
        "delete too much": pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a")),
        "delete and read": pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"c", prev_kv=True)),
    }
    for by in ("u", ""):
        for name, operation in operations.items():
            taken = await run("KV/Txn", by, success=[operation])
            not_taken = await run("KV/Txn", by, failure=[operation])
            refused = by == "" or "too much" in name or name == "delete and read"
            assert (taken is None, not_taken is None) == (refused, refused)
    for key, end in ((b"a", b""), (b"c", b""), (b"a", b"c"), (b"a", b"d")):
        compare = pb.Compare(key=key, range_end=end, target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=5)
        await run("KV/Txn", "u", compare=[compare], success=[operations["read"]])
        await run("KV/Txn", "u", compare=[compare], failure=[operations["write"]])
        await run("KV/Txn", "", compare=[compare])


@scenario
async def run_unions(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READ, b"a", b"c"), permission(READ, b"c", b"e"), permission(READ, b"k"))
    await run("Auth/RoleAdd", "root", name="more")
    for kind, key, end in ((READ, b"x", b"\0"), (READ, b"e", b""), (READWRITE, b"m", b"n")):
        await run("Auth/RoleGrantPermission", "root", name="more", perm=permission(kind, key, end))
    for step in ("", "more"):
        if step:
            await run("Auth/UserGrantRole", "root", user="u", role=step)
        for key, end in (
            (b"a", b"e"),
            (b"b", b"d"),
            (b"a", b"e\0"),
            (b"a", b"e\0\0"),
            (b"k", b""),
            (b"k", b"k\0"),
            (b"k", b"l"),
            (b"k", b"\0"),
            (b"x", b"\0"),
            (b"y", b"z"),
            (b"w", b"\0"),
            (b"m", b"n"),
            (b"m", b"\0"),
        ):
            await run("KV/Range", "u", key=key, range_end=end)
            await run("KV/DeleteRange", "u", key=key, range_end=end)


@scenario
async def run_watches(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READ, b"a", b"c"), permission(READ, b"k"))
    for key, end in (
        (b"a", b""),
        (b"a", b"c"),
        (b"c", b""),
        (b"a", b"d"),
        (b"k", b""),
        (b"k", b"l"),
        (b"", b""),
    ):
        response = await run.watch("u", key=key, range_end=end)
        assert response.created
        assert response.canceled == ((key, end) not in ((b"a", b""), (b"a", b"c"), (b"k", b"")))
        assert not (await run.watch("root", key=key, range_end=end)).canceled


@scenario
async def run_leases(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READWRITE, b"a", b"c"))
    for lease_id, key in ((7001, b"z"), (7002, b"a"), (7003, b"")):
        await run("Lease/LeaseGrant", "u", TTL=600, ID=lease_id)
        if key:
            await run("KV/Put", "root", key=key, lease=lease_id)
    assert await run("KV/Put", "u", key=b"b", lease=7001) is None
    await run("KV/Put", "u", key=b"b", lease=7002)
    await run("KV/Put", "u", key=b"b", lease=7003)
    await run("KV/Put", "u", key=b"b", lease=7004)
    assert await run("Lease/LeaseRevoke", "u", ID=7001) is None
    await run("Lease/LeaseRevoke", "u", ID=7003)
    await run("Lease/LeaseRevoke", "u", ID=7004)
    await run("Lease/LeaseRevoke", "root", ID=7001)
    await run("Lease/LeaseRevoke", "u", ID=7002)
    await run("KV/Range", "root", key=b"\0", range_end=b"\0", keys_only=True)


@scenario
async def run_what_only_root_may(run: Recorder) -> None:
    await run.make_root()
    await run.make_user("u", permission(READWRITE, b"\0", b"\0"))
    for by in ("u", ""):
        await run("Auth/AuthEnable", by)
        await run("Auth/AuthDisable", by)
        await run("Auth/UserAdd", by, name="x", options=auth_pb2.UserAddOptions(no_password=True))
        await run("Auth/UserAdd", by, name="x", password="x")
        await run("Auth/UserList", by)
        await run("Auth/UserDelete", by, name="u")
        await run("Auth/UserChangePassword", by, name="u", password="x")
        await run("Auth/UserGrantRole", by, user="u", role="root")
        await run("Auth/UserRevokeRole", by, name="u", role="u")
        await run("Auth/RoleAdd", by, name="x")
        await run("Auth/RoleList", by)
        await run("Auth/RoleDelete", by, role="u")
        await run("Auth/RoleGrantPermission", by, name="u", perm=permission(READ, b"a"))
        await run("Auth/RoleRevokePermission", by, role="u", key=b"\0", range_end=b"\0")
        for name in ("u", "root", "none", ""):
            await run("Auth/UserGet", by, name=name)
            await run("Auth/RoleGet", by, role=name)
    await run("Auth/UserGrantRole", "root", user="u", role="root")
    assert await run("Auth/UserList", "u") is not None
    assert (await run("Auth/AuthStatus", "u")).enabled


@scenario
async def run_root_is_protected(run: Recorder) -> None:
    await run.make_root(enable=False)
    await run("Auth/RoleAdd", name="root")
    await run("Auth/UserAdd", name="other", password="x")
    await run("Auth/UserGrantRole", user="other", role="root")
    await run("Auth/AuthEnable")
    await run.login("root", ROOT_PASSWORD)
    assert await run("Auth/UserDelete", "root", name="root") is None
    assert await run("Auth/RoleDelete", "root", role="root") is None
    assert await run("Auth/UserRevokeRole", "root", name="root", role="root") is None
    await run("Auth/UserRevokeRole", "root", name="root", role="other")
    await run("Auth/UserRevokeRole", "root", name="other", role="root")
    await run("Auth/AuthDisable", "root")
    await run("Auth/UserRevokeRole", name="root", role="root")
    await run("Auth/RoleDelete", role="root")
    await run("Auth/UserDelete", name="root")
    await run("Auth/AuthStatus")
