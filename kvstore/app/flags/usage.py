"""What `--help` prints. Launchers look for flags in it (envtest asks for `--unsafe-no-fsync`), so it has them all."""

from __future__ import annotations

import textwrap

from kvstore.app.flags.table import EARLIER_NAMES, FLAGS
from kvstore.app.flags.values import shown

__all__ = ["help_text"]

WIDTH = 110

_HEAD = """\
Usage:

  mini-etcd [flags]
    Start a member.

  mini-etcd --version
    Show the version.

  mini-etcd -h | --help
    Show this text.

  mini-etcd --config-file=FILE
    Start a member from a YAML file; other flags and the environment are ignored then.

  mini-etcd snapshot status|restore FILE
    Look into a snapshot, of mini-etcd's or etcd's; make a data directory from it.

  mini-etcd defrag | dump | version
    Work on the data directory of a member that is stopped. Each command has a --help of its own.

Every flag is also an environment variable: --data-dir is ETCD_DATA_DIR. Giving both is an error.

Examples:

  mini-etcd
    One member at http://localhost:2379, with its data in default.etcd.

  mini-etcd --name=m1 --data-dir=/var/lib/m1 --auto-tls \\
      --listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379
    The same over TLS, with a certificate made on the first start: /var/lib/m1/fixtures/client/cert.pem.

  mini-etcd --cert-file=server.pem --key-file=server-key.pem --trusted-ca-file=ca.pem --client-cert-auth \\
      --listen-client-urls=https://127.0.0.1:2379 --advertise-client-urls=https://127.0.0.1:2379
    Only for clients with a certificate of that authority.
"""


def help_text() -> str:
    """The whole text, flags in groups, each with its default."""
    lines = [_HEAD]
    for group in dict.fromkeys(flag.group for flag in FLAGS):
        lines.append(f"{group}:")
        for flag in FLAGS:
            if flag.group == group:
                lines += [f"  --{flag.name} '{shown(flag.default, flag.parse)}'", *_indented(flag.help)]
        lines.append("")
    lines.append("Earlier names:")
    for earlier, name in EARLIER_NAMES.items():
        lines += [f"  --{earlier}", f"    Earlier name of --{name}."]
    return "\n".join(lines) + "\n"


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
