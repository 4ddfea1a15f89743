"""Makes models: the embedded one of named packages, a team's of its repositories. Nothing of it ships in the wheel.

The story in order; `python -m training` tells it step by step. Modules, each of which imports only those above it:

    archives         an archive to its source files and what it says of its licence
    sources          the manifest of packages to source files, licence checked
    filters          one source file to the reason to drop it
    duplicates       equal files, near-equal files, runs shared with the benchmark
    corpus           all of that to shards of text
    vocabulary       text to a byte-level BPE
    holes            a text to the span of a hole
    snippets         a package to cross-file snippets for a window
    samples          a file to samples, laid out as serving lays out
    run              a RUN.toml to settings
    schedule         where a run stands to what its rates are multiplied by
    packing          samples to shards of equal-length rows
    checkpoint       named arrays to small pieces and back
    pruning          a pretrained tokenizer and counted text to the part of it that code uses
    pretrained       somebody's network to a checkpoint of ours, with such a tokenizer
    model            the network, in PyTorch
    muon             gradients to changed weights
    ranks            the processes of several GPUs
    train            rows to a checkpoint: stable, then cooled down
    calibration      a network and rows to matrices in 4 bits that change its answers least
    ablation         a run and its variants to what each difference is worth
    export           a checkpoint to a model directory
    mixture_weights  a model and held-out packages to how far it believes a memory
    card             all of its figures to a model card
    repositories     a team's folders and code by others to what is learnt, replayed and judged
    gaps             held-out files to gaps, and how well an engine fills them
    evaluation       the same gaps filled before and after to whether the model may be published
    bases            a folder to the model it holds
    full_finetune    a network of ours and rows to the whole of it tuned
    adapters         a Hugging Face checkpoint and rows to a tuned one
    finetune         all that in the order it happens, to a model in the library
"""
