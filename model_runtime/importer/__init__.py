"""Turns a Hugging Face checkpoint into a model directory. Does not run it.

Modules, each of which imports only those above it:

    torch_pickle  the tensors of a PyTorch file, without PyTorch
    checkpoint    the tensors of a Hugging Face folder
    hf_config     the values of its config.json
    rope          how fast its heads turn with the position
    weight_map    the network that it is, and where each weight lies
    families      such a plan, for each family
    hf_tokenizer  its tokenizer, its markers and how it is asked to infill
    importer      all that in, a model directory out
"""
