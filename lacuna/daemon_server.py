"""The daemon's own side: takes its place, opens the model, serves until drained, signalled or idle.

`daemon` is the other side, which finds or starts this one. Unix only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable

from lacuna import build, lock, log, place
from lacuna.errors import DaemonError, LacunaError
from lacuna.place import DaemonPlace
from lacuna.settings import Settings
from model_runtime import manifest
from model_runtime.errors import LacunaRuntimeError
from model_runtime.service.engine_worker import Writer
from model_runtime.service.server import serve
from model_runtime.service.service import Identity

_log = logging.getLogger(__name__)


def run(settings: Settings, *, lock_descriptor: int | None = None, ready: Callable[[], None]) -> None:
    """Serve these settings. ready: called once requests are answered.

    lock_descriptor: the daemon's lock, when whoever started this process took it already.
    Raises DaemonError when there is a daemon already or no right to be one, and ModelError.
    """
    where = place.find(settings)
    held = lock.take(where.lock) if lock_descriptor is None else lock_descriptor
    if held is None:
        raise DaemonError(f"a daemon runs already (process {lock.holder(where.lock)}); stop it with `lacuna stop`")
    os.set_inheritable(held, False)
    lock.sign(held)
    log.to_file(where.log)
    try:
        _serve(settings, where, held, ready)
    except (LacunaError, LacunaRuntimeError) as error:
        _log.error("cannot serve: %s", error)
        raise
    except BaseException:
        _log.exception("ended by a fault")
        raise
    finally:
        os.close(held)


def _serve(settings: Settings, where: DaemonPlace, held: int, ready: Callable[[], None]) -> None:
    directory = settings.model_directory
    name = manifest.read(directory).name  # before anything slow: a wrong path is told at once
    identity = Identity(build.identify(directory), name)
    listener = _listen(where)
    _log.info("build %s serves %s", identity.build, name)

    def opener() -> Writer:
        from model_runtime.opening import open_engine  # slow to import, so on the engine's thread

        return open_engine(
            directory,
            cache=settings.cache,
            threads=settings.threads,
            kv_cache=settings.kv_cache,
            provider=settings.provider,
        )

    serving = serve(opener, listener, identity, idle_exit=settings.idle_exit or None, ready=ready)
    try:
        with runner() as loop:
            loop.run(serving)
    finally:
        if lock.is_at(held, where.lock):  # else another daemon's socket may be there
            with contextlib.suppress(OSError):
                where.socket.unlink()
        listener.close()
    _log.info("ended")


def _listen(where: DaemonPlace) -> socket.socket:
    """The socket, for this user alone. What lies at its path is a dead daemon's: the lock is ours."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        where.socket.unlink(missing_ok=True)
        listener.bind(str(where.socket))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DaemonError(
            f"cannot make the socket {where.socket}: {error.strerror}; "
            "mend the folder's rights or set LACUNA_RUNTIME_DIR to a folder of your own"
        ) from error
    finally:
        os.umask(before)
    return listener


def runner() -> asyncio.Runner:
    """An event loop, the quick one where there is one."""
    try:
        import uvloop
    except ImportError:  # not made for every platform
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
