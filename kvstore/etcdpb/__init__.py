"""etcd's messages: the client API, the entries of its log, its lease and user records.

The `.proto` files beside this one are our own text with etcd's package, message and field names and numbers, so that
bytes written by one side are read by the other. `hack/codegen_protos.py` makes the modules from them:

    kv_pb2             mvccpb: KeyValue, Event
    auth_pb2           authpb: User, Role, Permission
    rpc_pb2            etcdserverpb: everything on the client wire
    lock_pb2           v3lockpb
    election_pb2       v3electionpb
    raft_internal_pb2  etcdserverpb: InternalRaftRequest, what the log holds
    membership_pb2     membershippb: membership requests inside it
    lease_pb2          leasepb: leases as stored, and asked about between members

Import the modules, not names from them: `from kvstore.etcdpb import rpc_pb2 as pb`. Registering a second copy of the
same messages in one process is an error of the protobuf runtime, so nothing else may bring its own.
"""
