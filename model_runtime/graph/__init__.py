"""Turns a shape and weights into ONNX graphs and kernels. Does not run them.

Modules, each of which imports only those above it:

    quantize        float weights to blocks and columns of integers, and back
    storage         a graph's constants: in it, or in a file beside it
    fused_matrices  matrices that a graph keeps as one, and its weights read back
    kv_blocks       how keys and values lie in 8 bits
    nodes           what every network is made of, in the precision at hand
    graph           the ONNX graph of every network that a shape can describe
    artifact_cache  files that can be made again, kept whole in a cache
    kernels         our own kernels, compiled and chosen for the processor at hand
    prepacked       a graph in the order of ONNX Runtime's kernels, to be mapped
    derived_graphs  further graphs of a network: stored, or derived and kept
"""
