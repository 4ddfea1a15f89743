"""The face: command line, settings file, daemon, doctor. Composes the other packages; nothing imports it."""

__version__ = "0.1.0"
