"""From options to a running member, and from flags to options: where the store's parts are chosen and joined.

member    Options, start_member: an embedded member
flags     etcd's flags, environment variables and configuration file
settings  what the flags mean
logs      etcd's JSON log lines
status    health, versions and metrics for the front
restore   a data directory from a snapshot
commands  what `mini-etcd` does besides serving
serve     a member with its ports open: what `mini-etcd` runs
"""

from kvstore.app.member import Member, Options, Services, StartError, start_member

__all__ = ["Member", "Options", "Services", "StartError", "start_member"]
