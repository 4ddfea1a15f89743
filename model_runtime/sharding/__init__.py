"""Runs one network in several processes, a rank each. Does not choose tokens.

Modules, each of which imports only those above it:

    partition        what each of several ranks holds of a network
    shard            a model directory to one that is shared out among ranks
    stages           one rank's share of it, run from sum to sum
    rank_protocol    what ranks are told, and what they answer
    rank_process     a rank's process, and the sums; needs torch
    rank_group       the processes of all ranks: started, watched, ended
    tensor_parallel  the network in these processes
"""
