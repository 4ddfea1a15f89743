"""Answers infill requests over HTTP on a Unix socket, with one engine. Does not know who asks.

Modules, each of which imports only those above it:

    ngram_store      texts of workspaces to their n-gram memories
    metrics          counts and times of the service
    request_adapter  requests to generations, and what became of them back
    battery          whether the machine lives on its battery
    starvation       who asked in vain for so long that it goes first
    request_handle   one request while it is under way
    engine_worker    the way to one engine
    service          the engine behind HTTP
    server           what listens for it, until it drains
"""
