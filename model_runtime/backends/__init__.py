"""Runs a network in ONNX Runtime over keys and values in memory. Does not choose tokens.

Modules, each of which imports only those above it:

    providers       what computes: the processor, or a graphics processor
    kv_pool         keys and values of all sequences, in one memory
    device_kv_pool  the same as pool, in a device's memory
    huge_pages      memory in large pages, and memory given back
    onnx_backend    the network in ONNX Runtime
"""
