"""Asks a service for infills, ours or another project's. Does not generate.

Modules, each of which imports only those above it:

    endpoint          where a service is
    proxies           the proxy before a server
    http_errors       what is in the way, in one sentence
    client            the other end of that HTTP
    external_engines  other projects' engines behind the same client
"""
