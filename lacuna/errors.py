"""Every exception that the face raises on purpose, as one tree.

    LacunaError
    ├── SettingsError     the settings file or an environment variable is wrong
    ├── ModelNameError    a name is no model's, or may not be what was asked for
    ├── HubError          a model cannot be fetched, or is not what the hub said
    ├── PositionError     FILE:LINE:COL names nothing that can be completed
    ├── ServeError        a port cannot be served, or not safely
    ├── TokenError        the file of tokens, or what is to be done to it, is wrong
    ├── PurgeError        something that was written cannot be removed
    └── DaemonError       no daemon could be found or started; also an Unreachable of the runtime,
                          so that the language server knows it without knowing this package

Each message says what is wrong, where, and what to do about it.
"""

from model_runtime.errors import Unreachable


class LacunaError(Exception):
    """The root: catch this to catch everything below."""


class SettingsError(LacunaError):
    """The settings file or an environment variable is wrong."""


class ModelNameError(LacunaError):
    """A name is no model's, or the model of that name may not be what was asked for."""


class HubError(LacunaError):
    """A model cannot be fetched from a hub, or came otherwise than the hub said."""


class PositionError(LacunaError):
    """FILE:LINE:COL names nothing that can be completed."""


class PurgeError(LacunaError):
    """Something that was written cannot be removed."""


class ServeError(LacunaError):
    """A port cannot be served, or not on terms that are safe."""


class TokenError(LacunaError):
    """The file of tokens is broken, or what is to be done to it makes no sense."""


class DaemonError(LacunaError, Unreachable):
    """No daemon could be found or started."""
