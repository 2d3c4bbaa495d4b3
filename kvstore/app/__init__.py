"""From options to a running member, and from flags to options: where the store's parts are chosen and joined.

starting  start_member: from options to an embedded member
member    a member that runs; services: what it serves
options   what can be chosen about a member
flags     etcd's flags, environment variables and configuration file; validation: which do not go together
settings  what the flags mean; features: etcd's feature gates
auto_tls  certificates that a member makes for itself
logs      etcd's log lines; log_rotation: files that make room
status    health, versions and metrics for the front
restore   a data directory from a snapshot
commands  what `mini-etcd` does besides serving
serve     a member with its ports open: what `mini-etcd` runs
"""

from kvstore.app.member import Member
from kvstore.app.options import Options
from kvstore.app.services import Services
from kvstore.app.starting import StartError, start_member
from kvstore.server.bootstrap import RemovedError

__all__ = ["Member", "Options", "RemovedError", "Services", "StartError", "start_member"]
