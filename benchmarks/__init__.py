"""Judges: every claim of speed or quality is made by a module here. Nothing imports it.

Modules, each of which imports only those above it:

    throughput  how fast the runtime is, on random weights of a given size
"""
