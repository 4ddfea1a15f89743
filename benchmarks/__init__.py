"""Judges: every claim of speed or quality is made by a module here. Nothing imports it.

Modules, each of which imports only those above it:

    infill_tasks  gaps with one right answer, from the benchmark data and from held-out packages
    five_gram   what counting words alone would write
    verdict     whether a program with its test passes, locked down
    infill      how often a model fills gaps rightly, beside the baselines
    throughput  how fast the runtime is, on random weights of a given size
"""
