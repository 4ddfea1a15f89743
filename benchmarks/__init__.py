"""Judges: every claim of speed or quality is made by a module here. Nothing imports it.

Modules, each of which imports only those above it:

    infill_tasks  gaps with one right answer, from the benchmark data and from held-out packages
    five_gram   what counting words alone would write
    verdict     whether a program with its test passes, locked down
    plot        figures as a picture
    log_loss    bits a byte on held-out text, by language
    infill      how often a model fills gaps rightly, beside the baselines
    precision   what each stored precision loses, side by side
    bytes_a_token  how much text one token of a tokenizer stands for
    verbatim    how often a model repeats what it learnt from, word for word
    footprint   a process's memory and processor time
    random_model  models with random weights, of known sizes
    grown       the shipped model in a larger network
    llama_peer  llama.cpp, in a Python that has it
    opponent    the same from here: jobs in, times out
    importing   how long an import takes, and what memory, on a checkpoint of a given size
    lsp_client  a language server over stdio, and when each message went and came
    editor      what an editor does to a file by itself: closers, indentation
    typist      the keys that write a function, with a person's typos and pauses
    workspace   a package's copy with functions taken out
    keystrokes  the prompts of each key, ours and an editor plug-in's of llama.cpp
    key_times   what each of these keys costs, ours and llama.cpp's
    loading     what it takes to load a model, in a fresh process
    drafts      whether drafts make a text quicker, where it is a copy and where not
    throughput  how fast the runtime is, at a given size, beside llama.cpp
    ranks       what it takes to compute a network in one process, and shared out among several
    bandwidth   what a line of a large model would take on cards that nobody has here
    samples     one request each: classes, percentiles, thresholds
    sitting     a person writes functions in front of a server
    recall      how often the definition a hidden line needs is among the snippets
    hidden_lines  ends of a repository's lines, with and without a name from another file
    gains       what arms that filled the same gaps gain, with intervals
    repository  what retrieval and memory of a repository are worth to the model
    index_speed  how fast a tree is read, indexed and searched
    crowd       many people who write functions at once
    llama_server  llama-cpp-python's own server, with the shipped model
    load        what a server is worth to them
    latency     how long each key waits for its answer, and what it costs
    held_out    the packages that no model learnt from
    gaps        a package's copy, of any language, with parts taken out
    flaws       what is wrong with a suggestion once it is in the file
    moments     one place of a replay each: what was shown there, and the report
    replay      files written again key by key: what suggestions are worth, and what is wrong with them
    gate        replayed suggestions to the gate's coefficients, and what those are worth
"""
