"""An etcd v3-compatible, multi-version key-value store replicated by `raft`."""
