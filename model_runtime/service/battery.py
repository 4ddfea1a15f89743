"""Whether this machine lives on its battery: then nothing is computed that nobody asked for.

Reads what Linux says of power supplies; where that is not to be had the answer is no.
"""

from __future__ import annotations

from pathlib import Path

SUPPLIES = Path("/sys/class/power_supply")


def on_battery(supplies: Path = SUPPLIES) -> bool:
    """A battery of the machine's own is being emptied, and no mains adapter is plugged in."""
    try:
        found = [(_said(one, "type"), one) for one in supplies.iterdir()]
    except OSError:
        return False
    if any(kind in ("Mains", "USB") and _said(one, "online") == "1" for kind, one in found):
        return False
    own = [one for kind, one in found if kind == "Battery" and _said(one, "scope") != "Device"]  # a mouse has one, too
    return any(_said(one, "status") == "Discharging" for one in own)


def _said(supply: Path, name: str) -> str:
    try:
        return (supply / name).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
