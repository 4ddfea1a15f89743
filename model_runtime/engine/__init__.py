"""Turns token ids into token ids: one network, many generations at once. Does not know how a network is computed.

Modules, each of which imports only those above it:

    sampling       log-probabilities to one token
    ngrams         the memory of a workspace: what followed these tokens before
    speculation    what probably follows, where checking it in one run pays
    sequence       the state of one generation
    backend        what an engine asks of whatever runs the network
    profile        how fast a model is on this machine, measured once
    cache          KV slots and the longest prefix they share with a prompt
    scheduler      what the network does next: by priority, fair, in time
    n_best         the likeliest texts that differ from a first one
    token_healing  a prompt cut in mid-word, and what goes on from it
    task           one generation while it is worked on
    work           the work of one step, and its run
    engine         schedule, run, postprocess
"""
