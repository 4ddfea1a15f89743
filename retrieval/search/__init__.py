"""Turns a cursor into ranked snippets under a budget. Does not write the index.

Modules, each of which imports only those above it:

    symbols        an import to the definitions it binds
    query_context  a cursor to the names, imports and similar lines around it
    ranking        what speaks for a definition to how likely it is needed
    candidates     surroundings to the definitions that may be needed
    search         a cursor to ranked snippets under a budget
"""
