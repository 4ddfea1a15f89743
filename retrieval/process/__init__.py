"""Runs indexing and syntax checks as processes of their own. Does not rank.

Modules, each of which imports only those above it:

    messages        what the indexing process and its owner say to each other
    indexer         the indexing process
    worker          its owner's end of the pipes
    syntax_process  the same, by a process that may die over it
"""
