"""Turns a Hugging Face checkpoint or a GGUF into a model directory. Does not run it.

Modules, each of which imports only those above it:

    torch_pickle     the tensors of a PyTorch file, without PyTorch
    gguf_header      the metadata of a GGUF file, and where its tensors lie
    gguf_tensors     their values, decoded or in blocks of ours
    checkpoint       the tensors of a Hugging Face folder
    hf_config        the values of its config.json
    gguf_config      what config.json would say of a GGUF
    gguf_checkpoint  a GGUF as such a checkpoint
    rope             how fast its heads turn with the position
    weight_map       the network that it is, and where each weight lies
    families         such a plan, for each family
    hf_tokenizer     its tokenizer, its markers and how it is asked to infill
    gguf_tokenizer   the tokenizer inside a GGUF
    importer         all that in, a model directory out
"""
