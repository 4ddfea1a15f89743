"""Where a service is and what to show it, as a value. Ignores who connects, and how."""

from __future__ import annotations

import re

import msgspec

_LOGIN = re.compile(r"(?<=://)[^/?#]*@")


class Endpoint(msgspec.Struct, frozen=True):
    """Where a service is: the path of a Unix socket, or a URL with the token it asks for.

    ca: a PEM file of authorities to trust besides the system's. certificate, key: PEM files, ours to show.
    """

    socket: str | None = None
    url: str | None = None
    token: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        """The address, without a name and a password that may stand in it."""
        return self.socket or _LOGIN.sub("", self.url or "nowhere")

    def __repr__(self) -> str:
        return f"Endpoint({self})"  # the token stays out of tracebacks and logs
