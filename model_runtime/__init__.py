"""Writes code: a prompt in, tokens of the missing middle out, inside a deadline.

Knows nothing of editors, repositories or of any file outside its model directories
and caches. Modules, each of which imports only those above it:

    errors     every exception a caller may catch, as one tree
    manifest   a model directory's description: shapes, FIM tokens, checksums
    tokenizer  text to token ids and back, whole or as a stream
    prompt     the only fill-in-the-middle layout
    protocol   what service and client say to each other
    owner      to whom a request belongs, where several users share a service
    engine/    token ids to token ids: one network, many generations
    graph/     a shape and weights to ONNX graphs and kernels
    backends/  the network in ONNX Runtime, over keys and values in memory
    sharding/  the network in several processes
    opening    a model directory to an engine: picks what runs the network
    importer/  a Hugging Face checkpoint to a model directory
    service/   the engine behind HTTP on a Unix socket
    gateway/   the service behind a port: tokens, limits, other protocols
    client/    the other end: requests to a service, ours or another project's
"""

import os

# ONNX Runtime 1.29 and later keeps an identifier of this machine and reports to its maker, unless told not to before
# it is loaded. Here nobody can load it sooner.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
