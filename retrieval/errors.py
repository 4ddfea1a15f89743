"""Every exception that this package raises on purpose, as one tree.

    RetrievalError
    ├── WorkspaceError   a root is missing, or cannot be read
    ├── GrammarError     a language's grammar or query is missing or does not load
    ├── ParseTimeout     a file took longer to parse than it was allowed
    ├── StoreError       the index on disk cannot be used
    │   ├── StoreBroken  it is damaged; it will be built again
    │   └── StoreLocked  another process writes it
    └── WorkerError      the indexing process died or answered nonsense

Each message says what is wrong, where, and what to do about it. Broken user code is not in
this tree: it is data.
"""


class RetrievalError(Exception):
    """The root: catch this to catch everything below."""


class WorkspaceError(RetrievalError):
    """A workspace root is missing, is not a directory, or cannot be read."""


class GrammarError(RetrievalError):
    """A grammar is not installed, or a query does not compile against it."""


class ParseTimeout(RetrievalError):
    """Parsing took longer than the caller allowed."""


class StoreError(RetrievalError):
    """The index on disk cannot be used."""


class StoreBroken(StoreError):
    """The index on disk is damaged or was written by another version."""


class StoreLocked(StoreError):
    """Another process is writing this index."""


class WorkerError(RetrievalError):
    """The indexing process could not be started, died, or broke its protocol."""
