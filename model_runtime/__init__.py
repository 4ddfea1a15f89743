"""Writes code: a prompt in, tokens of the missing middle out, inside a deadline.

Knows nothing of editors, repositories or of any file outside its model directories
and caches. Modules, each of which imports only those above it:

    errors         every exception a caller may catch, as one tree
    manifest       a model directory's description: shapes, FIM tokens, checksums
    tokenizer      text to token ids and back, whole or as a stream
    prompt         the only fill-in-the-middle layout
    protocol       what service and client say to each other
    sampling       log-probabilities to one token
    ngrams         the memory of a workspace: what followed these tokens before
    memories       texts of workspaces to their n-gram memories
    speculation    what probably follows, where checking it in one run pays
    sequence       the state of one generation
    backend        what an engine asks of whatever runs the network
    profile        how fast a model is on this machine, measured once
    cache          KV slots and the longest prefix they share with a prompt
    quantize       float weights to blocks and columns of integers, and back
    storage        a graph's constants: in it, or in a file beside it
    stacks         matrices that a graph keeps as one, and its weights read back
    blocks         how keys and values lie in 8 bits
    nodes          what every network is made of, in the precision at hand
    graph          the ONNX graph of every network that a shape can describe
    shares         what each of several ranks holds of a network
    shard          a model directory to one that is shared out among ranks
    prepacked      a graph in the order of ONNX Runtime's kernels, to be mapped
    sealed         files that can be made again, kept whole in a cache
    kernels        our own kernels, compiled for the processor at hand
    derived        further graphs of a network: stored, or derived and kept
    pool           keys and values of all sequences, in one memory
    providers      what computes: the processor, or a graphics processor
    device_pool    the same as pool, in a device's memory
    pages          memory in large pages, and memory given back
    onnx_backend   the network in ONNX Runtime
    stretches      one rank's share of it, run from sum to sum
    orders         what ranks are told, and what they answer
    parallel       a rank's process, and the sums; needs torch
    group          the processes of all ranks: started, watched, ended
    ranks          the network in these processes
    scheduler      what the network does next: by priority, fair, in time
    candidates     the likeliest texts that differ from a first one
    healing        a prompt cut in mid-word, and what goes on from it
    task           one generation while it is worked on
    engine         schedule, run, postprocess
    pickled        the tensors of a PyTorch file, without PyTorch
    checkpoint     the tensors of a Hugging Face folder
    configuration  the values of its config.json
    rope           how fast its heads turn with the position
    plan           the network that it is, and where each weight lies
    families       such a plan, for each family
    vocabulary     its tokenizer, its markers and how it is asked to infill
    importer       all that in, a model directory out
    metrics        counts and times of the service
    infills        requests to generations, and what became of them back
    power          whether the machine lives on its battery
    starvation     who asked in vain for so long that it goes first
    ticket         one request while it is under way
    lane           the way to one engine
    service        the engine behind HTTP
    server         what listens for it, until it drains
    access         tokens, and what each of them may
    raw_prompt     a prompt in some family's markup to the gap it means
    dialect        what a request of another protocol comes to
    openai         OpenAI's completions
    llama_cpp      llama.cpp's infills
    door           connections: bounded, timed, encrypted
    replies        tickets to answers in the protocol of their path
    gateway        the service behind a port, for those who have a token
    endpoint       where a service is
    obstacles      what is in the way, in one sentence
    client         the other end of that HTTP
    foreign        other projects' engines behind the same client
"""

import os

# ONNX Runtime 1.29 and later keeps an identifier of this machine and reports to its maker, unless told not to before
# it is loaded. Here nobody can load it sooner.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
