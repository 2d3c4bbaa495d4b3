"""The process itself, as Prometheus' client libraries describe it, from /proc."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

from kvstore.app.exposition import Family, counter, gauge

__all__ = ["process_families"]

_STAT_VIRTUAL_BYTES, _STAT_RESIDENT_PAGES, _STAT_START_TICKS = 20, 21, 19
"""Fields of /proc/self/stat, counted from the one after the program's name (proc(5))."""


def process_families() -> Iterator[Family]:
    """`process_*` and etcd's `os_fd_*`; without /proc only what the system calls tell."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield counter("process_cpu_seconds_total", usage.ru_utime + usage.ru_stime)
    fd_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield gauge("process_max_fds", fd_limit)
    yield gauge("os_fd_limit", fd_limit)
    address_limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    yield gauge("process_virtual_memory_max_bytes", 2**64 - 1 if address_limit < 0 else address_limit)
    try:
        fd_count = len(os.listdir("/proc/self/fd"))
        with open("/proc/self/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as machine:
            booted = next(int(line.split()[1]) for line in machine if line.startswith(b"btime"))
    except (OSError, StopIteration):
        return
    yield gauge("process_open_fds", fd_count)
    yield gauge("os_fd_used", fd_count)
    yield gauge("process_virtual_memory_bytes", int(fields[_STAT_VIRTUAL_BYTES]))
    yield gauge("process_resident_memory_bytes", int(fields[_STAT_RESIDENT_PAGES]) * os.sysconf("SC_PAGE_SIZE"))
    started = booted + int(fields[_STAT_START_TICKS]) / os.sysconf("SC_CLK_TCK")
    yield gauge("process_start_time_seconds", started)
