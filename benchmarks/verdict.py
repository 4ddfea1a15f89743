"""A program with its test in, whether it passes out. Runs what a model wrote, so it runs it locked down.

A process of its own in an empty folder, with limits on time, memory, files and processes, without the
environment, and without a network where the system allows a namespace of one's own.
"""

from __future__ import annotations

import functools
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

_SECONDS = 10
_MEMORY = 1 << 30  # bytes of address space


def passes(program: str, seconds: int = _SECONDS) -> bool:
    """Whether the program ends by itself, in time, with code 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_without_network(), sys.executable, "-I", "-S", "-c", program]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={"PATH": "/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                preexec_fn=functools.partial(_limit, seconds),
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def has_network() -> bool:
    """Whether programs under test could reach a network here; said in the results."""
    return not _without_network()


def _limit(seconds: int) -> None:
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (most, most))


@functools.cache
def _without_network() -> Sequence[str]:
    command = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*command, "true"], capture_output=True, timeout=10, check=False)
    return command if tried.returncode == 0 else ()
