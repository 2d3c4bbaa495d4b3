from kvstore.etcdpb import rpc_pb2 as pb


async def test_put_get_restart(start):
    member = await start()
    client = member.client()
    put = await client.put(pb.PutRequest(key=b"a", value=b"1"))
    assert put.header.revision == 2
    got = await client.range(pb.RangeRequest(key=b"a"))
    assert got.kvs[0].value == b"1"
    stream = client.watch()
    await stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a", start_revision=1, prev_kv=True)))
    print(await anext(stream), await anext(stream))
    await client.put(pb.PutRequest(key=b"a", value=b"2"))
    print(await anext(stream))
    member = await start()
    client = member.client()
    got = await client.range(pb.RangeRequest(key=b"a"))
    assert got.kvs[0].value == b"2"
    print(await client.status())
    print(await member.services().cluster.member_list(pb.MemberListRequest(), None))
    print(await member.services().maintenance.hash_kv(pb.HashKVRequest(), None))
