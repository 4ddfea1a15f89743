"""A process id in, its memory and processor time out; Linux only. Ignores what the process does."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def resident_mb(pid: int) -> float:
    """Resident memory in units of 10^6 bytes, mapped files included; 0 when there is no such process."""
    return _status(pid, "VmRSS") / 1000


def peak_mb(pid: int) -> float:
    """The most resident memory it has had; 0 when there is no such process."""
    return _status(pid, "VmHWM") / 1000


def anonymous_mb(pid: int) -> float:
    """The part of it that is no file's."""
    return _status(pid, "RssAnon") / 1000


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def machine_seconds() -> float:
    """Processor time of everything on this machine since it started."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, (PROC / "stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICK


def with_environment(name: str, value: str) -> dict[int, str]:
    """Process id → command line of every process of ours whose environment holds name=value."""
    wanted, found = f"{name}={value}".encode(), {}
    for folder in PROC.glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def _status(pid: int, name: str) -> float:
    """A size of /proc/PID/status in units of 1000 bytes."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1.024 for line in lines if line.startswith(name + ":")), 0.0)
