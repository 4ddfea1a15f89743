"""A URL and the environment in, the proxy to go through out, or None for none.

Goes by curl's rules: a server on this machine's own loopback is asked without a proxy, `NO_PROXY` names hosts, domains,
addresses and networks (CIDR), with a port or without. An entry that nobody can read is passed over, and one warning
names the variable. Ignores what is asked for.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^\]\s]*)\]|(?P<host>[^\[\]:/\s]+))(?::(?P<port>\d{1,5}))?")
_BRACKETS = re.compile(r"^\[([^\]]*)\](?=/|$)")
_NAME = re.compile(r"\*?\.?[\w-]+(?:\.[\w-]+)*\.?")
_log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def proxy_of(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The proxy before a URL, as an address with a scheme; None to go without one."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    if is_loopback(host):
        return None
    named = _named(parts.scheme, environment)
    if not named or _is_excepted(host, port, environment):
        return None
    return named if "://" in named else f"http://{named}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by a name or an address that never leaves it."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def _named(scheme: str, environment: Mapping[str, str]) -> str | None:
    """The proxy for a scheme: the small letters' first, as everywhere; without any, what the system's settings name."""
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if name in environment:
            return environment[name].strip() or None
    if environment is not os.environ:
        return None
    found = getproxies()
    return found.get(scheme) or found.get("all")


def _is_excepted(host: str, port: int, environment: Mapping[str, str]) -> bool:
    variable = next((name for name in ("no_proxy", "NO_PROXY") if environment.get(name)), None)
    if variable is None:
        return False
    entries = environment[variable].replace(",", " ").split()
    if "*" in entries:
        return True
    address = _address(host)
    unreadable, is_excepted = [], False
    for entry in entries:
        verdict = _fits(entry, host, port, address)
        if verdict is None:
            unreadable.append(entry)
        is_excepted = is_excepted or bool(verdict)
    if unreadable:
        _warn(variable, " ".join(unreadable))
    return is_excepted


def _fits(entry: str, host: str, port: int, address: Address | None) -> bool | None:
    """Whether an entry names a host; None when nobody can read it."""
    try:
        network = ipaddress.ip_network(_BRACKETS.sub(r"\1", entry), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address.version == network.version and address in network
    found = _ENTRY.fullmatch(entry)
    if found is None:
        return None
    named = found["bracketed"] or found["host"] or ""
    wanted = _address(named)
    if found["bracketed"] is not None and wanted is None:
        return None
    if wanted is None and not _NAME.fullmatch(named):
        return None
    if found["port"] and int(found["port"]) != port:
        return False
    if wanted is not None:
        return wanted == address
    domain = named.lstrip("*").strip(".").lower()
    return address is None and (host.lower() == domain or host.lower().endswith("." + domain))


def _address(host: str) -> Address | None:
    """An address without its zone; one of IPv4 in IPv6's form is one of IPv4."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


@cache
def _warn(variable: str, entries: str) -> None:
    _log.warning("%s holds what names no host and no network, which is passed over: %s", variable, entries)
