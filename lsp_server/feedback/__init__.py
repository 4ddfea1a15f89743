"""Observes what became of suggestions. Does not make any.

Modules, each of which imports only those above it:

    journal     what came of requests and suggestions, on the disk if the user wants it
    retention   how much of an accepted text is still there
    acceptance  what became of what was shown
"""
