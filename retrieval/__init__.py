"""Reads code: files in, ranked snippets out, under a budget.

Knows nothing of token ids, editors or models. Modules, each of which imports only
those above it:

    errors        every exception a caller may catch, as one tree
"""
