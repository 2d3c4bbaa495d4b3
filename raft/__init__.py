"""Consensus as a library: a sans-I/O Raft core, a write-ahead log, and the driver that joins them."""
