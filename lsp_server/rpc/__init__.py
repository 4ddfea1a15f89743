"""Turns bytes on a pipe into calls with our types, and back. Does not answer them.

Modules, each of which imports only those above it:

    transport  bytes on a pipe ↔ whole messages
    wire       the protocol's types ↔ ours
    protocol   messages → calls and replies, with what pygls gets wrong mended
"""
