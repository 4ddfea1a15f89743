"""Speaks to editors: edits and requests in, suggestions out.

Only `wire` and `server` know the protocol's types. Modules, each of which imports only
those above it:
"""
