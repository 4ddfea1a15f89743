"""Connects the editor's workspace with the index and with the service. Does not decide what is shown.

Modules, each of which imports only those above it:

    context     what is known from elsewhere, found once for a scope
    indexing    the repositories' related code, by processes of their own
    connection  the way to the service
    ngram_sync  a workspace's texts to the service that writes in it
"""
