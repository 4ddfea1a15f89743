"""Every exception that this package raises on purpose, as one tree.

    LacunaRuntimeError
    ├── ModelError            something is wrong with a model directory
    │   ├── ManifestError     manifest.json is missing, broken, or of another format
    │   ├── ChecksumError     a file of the model is not the file the manifest names
    │   ├── TokenizerError    tokenizer.json does not belong to the manifest
    │   ├── CheckpointError   what is to be imported is missing, broken, or of an unknown kind
    │   ├── ShardError        a model cannot be shared out among so many ranks
    │   └── RankError         a rank of a sharded model died, hangs or cannot be started
    ├── PromptError           the request cannot be laid out
    ├── Cancelled             somebody asked for the work to stop
    ├── Overloaded            the queue is full; come back later
    │   └── Limited           a token asks more often than it may
    └── ServiceError          the other end of the client
        ├── Unreachable       nobody answers there
        ├── Untrusted         who answers there cannot show that it is who it should be, or asks us to
        ├── ProtocolMismatch  somebody answers, in another language
        └── Refused           it answered no, and said why
            └── Denied        no token, a wrong one, or one that may not do this

Each message says what is wrong, where, and what to do about it.
"""


class LacunaRuntimeError(Exception):
    """The root: catch this to catch everything below."""


class ModelError(LacunaRuntimeError):
    """Something is wrong with a model directory."""


class ManifestError(ModelError):
    """manifest.json is missing, broken, or written in another format."""


class ChecksumError(ModelError):
    """A file of the model is missing or is not the one that the manifest names."""


class TokenizerError(ModelError):
    """tokenizer.json cannot be read or does not belong to the manifest."""


class CheckpointError(ModelError):
    """A checkpoint that is to be imported is missing, broken, or of a kind that cannot be."""


class ShardError(ModelError):
    """A model cannot be shared out among so many ranks."""


class RankError(ModelError):
    """A rank of a sharded model died, hangs or cannot be started; all of them start anew."""


class PromptError(LacunaRuntimeError):
    """The request cannot be laid out for this model."""


class Cancelled(LacunaRuntimeError):
    """Somebody asked for the work to stop; nothing is owed."""


class Overloaded(LacunaRuntimeError):
    """The queue is full; the request was refused before any work was done."""


class Limited(Overloaded):
    """A token asks more often, or more at once, than it may. after: seconds until it may ask again."""

    def __init__(self, message: str, *, after: int) -> None:
        super().__init__(message)
        self.after = after


class ServiceError(LacunaRuntimeError):
    """Something is wrong at the other end of the client."""


class Unreachable(ServiceError):
    """Nobody answers at the address."""


class Untrusted(ServiceError):
    """The service's certificate is not trusted here, or it asks for one of ours."""


class ProtocolMismatch(ServiceError):
    """The service speaks another version of the protocol."""


class Refused(ServiceError):
    """The service answered no, and said why."""


class Denied(Refused):
    """There was no token, it is no good, or it may not do this. forbidden: the last of the three."""

    def __init__(self, message: str, *, forbidden: bool = False) -> None:
        super().__init__(message)
        self.forbidden = forbidden
