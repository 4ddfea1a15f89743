"""Reads code: files in, ranked snippets out, under a budget.

Knows nothing of token ids, editors or models. Modules, each of which imports only
those above it:

    errors        every exception a caller may catch, as one tree
    isolation     a module of ours as a process of its own
    language_ids  an editor's name for a language to ours
    languages     a file's name to its language
    commands      the secrets that commands are given as options
    secrets       keys, tokens and passwords in a text, starred out
    lock          one writer for each workspace
    syntax/       one text to its tree, its outline and its chunks
    resolve/      the name that an import gives to files
    index/        a workspace to an index on the disk
    search/       a cursor to ranked snippets under a budget
    process/      indexing and syntax checks as processes of their own

The live interface, for a language server:

    worker = Worker(root, index.directory(cache, root), on_progress)    starts nothing yet
    worker.changed(path, text)          an open buffer's text, None when closed; paths relative to
                                        the root, with forward slashes; at pauses, not for every key
    worker.touched(paths)               files that changed on disk; () to look at all of them; an
                                        owner that cannot tell gives Worker(…, watch=True)
    key = search.scope(text, offset)    made in microseconds: while it and the path stay the same,
                                        so does the context, and a keystroke only reads what was
                                        found for its scope
    answer = await worker.ranked(Query(path, text, offset, window))    ahead of the key; one at a
                                        time; keep it under (path, key); ask again when `partial`
    search.pack(answer.snippets, count, budget)    the most valuable last, as the prompt wants them
    worker.recite()                     have every file's masked text told to on_texts, newest last
    await worker.close()

Commands and tests do it in one process: `index.build(root)` or `index.opened(root, directory)`,
then `search.context(query, index, count, budget)`. `signatures.text` is the text of a definition,
in training as in use. `secrets.mask(text, path)` stars out secrets and keeps every offset.
"""
