"""Says to whom a request belongs, where several users share a service. Does not find out who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Owner:
    """Clients and workspaces of one owner are strangers to every other's, whatever their names."""

    kind: Literal["local", "token", "nobody"]
    token: str = ""
    """The id of the owner's token; empty for the other kinds."""

    @property
    def is_local(self) -> bool:
        """Whether it is the one user of this machine's socket, who has an engine alone."""
        return self.kind == "local"

    @property
    def is_nobody(self) -> bool:
        """Whether it is a stranger at a port without tokens, of whom the service keeps no workspace."""
        return self.kind == "nobody"


LOCAL = Owner("local")
NOBODY = Owner("nobody")


def of_token(identifier: str) -> Owner:
    """The owner of the token with this id; nobody where it is empty."""
    return Owner("token", identifier) if identifier else NOBODY
