"""`mini-apiserver`: the command."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apiserver.app.options import Options

__all__ = ["main"]


def main() -> None:
    """Run `mini-apiserver`, `mini-apiserver decode` or `mini-apiserver encode`; exits the process."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["decode"], ["encode"]):
        from apiserver.codec.cli import decode_main, encode_main

        run = decode_main if arguments[0] == "decode" else encode_main
        sys.exit(run(arguments[1:]))
    sys.exit(_serve(arguments))


def _serve(arguments: list[str]) -> int:
    from apiserver.app.options import OptionsError, parse_options

    try:
        options = parse_options(arguments)
    except OptionsError as error:
        return _refuse(str(error))
    level = logging.DEBUG if options.verbosity >= 4 else logging.INFO if options.verbosity >= 1 else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname).1s %(name)s: %(message)s", stream=sys.stderr)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_run(options))
    return uvloop.run(_run(options))


async def _run(options: Options) -> int:
    from apiserver.app.server import APIServer, StartError
    from apiserver.endpoints.version_info import GIT_VERSION
    from kvstore.environment import real_environment

    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = APIServer(options, real_environment())
    starting = asyncio.ensure_future(server.start())
    told = asyncio.ensure_future(stopping.wait())
    await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():  # a cluster may take any time to come together
        starting.cancel()
    try:
        await starting
    except StartError as error:
        return _refuse(str(error))
    except asyncio.CancelledError:
        return 0
    # What start-up made lives as long as the process; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    if server.first_start:
        _say(f"first start: certificates, keys and an admin kubeconfig are in {server.data_dir}")
    _say(f"mini-apiserver {GIT_VERSION} is ready at {server.url} - export KUBECONFIG={server.kubeconfig}")
    server.failed.add_done_callback(lambda _: stopping.set())
    await told
    for number in (signal.SIGTERM, signal.SIGINT):  # a second signal ends the process at once
        loop.remove_signal_handler(number)
    await server.stop()
    return _refuse(server.failed.result()) if server.failed.done() else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _refuse(text: str) -> int:
    sys.stderr.write(f"mini-apiserver: {text}\n")
    return 1


if __name__ == "__main__":
    main()
