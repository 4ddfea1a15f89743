"""A bearer token in, what it may do out: known, not expired, within its scopes, its rate and its share at once.

Ignores where grants are kept and how a request travels. A token is `lacuna_ID_SECRET`; of the secret only a digest is
known here, and digests are compared in constant time. A secret is 32 random bytes, so that one round of SHA-256 is
enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import msgspec

from model_runtime.errors import Denied, Limited

Scope = Literal["complete", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
BURST = 10.0  # seconds: as much of its rate may come at once
_PREFIX = "lacuna_"
_NOBODY = hashlib.sha256(b"").hexdigest()  # compared with when there is no such token, so that this takes as long


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one token may do. Never holds the token.

    digest: see `digest`. expires: Unix time, None never. rate: requests a minute; concurrency: requests at once.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[Scope, ...] = ("complete",)
    created: float = 0.0
    expires: float | None = None
    rate: int | None = None
    concurrency: int | None = None


OPEN = Grant("", "nobody asked", "", SCOPES)  # whoever comes, where no token is asked for


def issue() -> tuple[str, str, str]:
    """A new token, its id, and the digest to keep of it."""
    identifier, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    return f"{_PREFIX}{identifier}_{secret}", identifier, digest(secret)


def digest(secret: str) -> str:
    """What is kept of a secret: SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


@dataclass
class _Use:
    """What a token has left. allowance: requests that may begin now; at: when that was so."""

    allowance: float
    at: float
    running: int = 0


@dataclass
class Access:
    """Who may ask. grants: by id, asked for with each request; None where everybody may. Event loop's thread only."""

    grants: Callable[[], Mapping[str, Grant]] | None = None
    clock: Callable[[], float] = time.time
    _uses: dict[str, _Use] = field(default_factory=dict)

    def identify(self, authorization: str | None) -> Grant:
        """The grant of an Authorization header. Raises Denied, which says no more than that it is no good."""
        if self.grants is None:
            return OPEN
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Denied("this server asks for a token; get one from whoever runs it, and send it as a bearer token")
        identifier, _, secret = token.strip().removeprefix(_PREFIX).partition("_")
        grant = self.grants().get(identifier)
        good = hmac.compare_digest(digest(secret), grant.digest if grant is not None else _NOBODY)
        if grant is None or not good:
            raise Denied("the token is not known here, or was revoked; ask whoever runs this server for another")
        if grant.expires is not None and self.clock() >= grant.expires:
            raise Denied("the token has expired; ask whoever runs this server for another")
        return grant

    @contextmanager
    def admit(self, grant: Grant, scope: Scope) -> Iterator[None]:
        """One request of a token while it is answered. Raises Denied and Limited."""
        if scope not in grant.scopes:
            raise Denied(f"the token may not do this: it lacks the scope {scope!r}", forbidden=True)
        use = self._spend(grant)
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def _spend(self, grant: Grant) -> _Use:
        now, most = self.clock(), max(1.0, (grant.rate or 0) * BURST / 60)
        use = self._uses.setdefault(grant.id, _Use(most, now))
        if grant.concurrency is not None and use.running >= grant.concurrency:
            raise Limited(f"{use.running} requests of this token run already, its limit; wait for one to end", after=1)
        if grant.rate is not None:
            use.allowance = min(most, use.allowance + max(0.0, now - use.at) * grant.rate / 60)
            use.at = now
            if use.allowance < 1:
                after = math.ceil((1 - use.allowance) * 60 / grant.rate)
                raise Limited(f"this token may ask {grant.rate} times a minute; try again in {after} s", after=after)
            use.allowance -= 1
        return use
