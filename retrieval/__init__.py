"""Reads code: files in, ranked snippets out, under a budget.

Knows nothing of token ids, editors or models. Modules, each of which imports only
those above it:

    errors        every exception a caller may catch, as one tree
    languages     a file's name to its language
    isolation     a module of ours as a process of its own
    secrets       keys, tokens and passwords in a text, starred out
    workspace     the files of a root that may be indexed
    syntax        a text's tree: does an edit break it
    insertion     a text at a cursor to how much of it adds no error
    proofreader   the same, by a process that may die over it
    clauses       an import statement to the names it binds
    outlines      definitions, imports and references of a text
    signatures    the text that stands for a definition in a prompt
    chunks        a text in pieces of some dozen lines
    projects      what go.mod, Cargo.toml, package.json and tsconfig.json say of imports
    entries       everything an index keeps about one file
    store         entries in SQLite
    modules       a module's name to the files it means
    dependencies  an import that leads out of the workspace to what is installed
    edits         two versions of a text to what changed
    embedding     texts to vectors, by an embedder learnt from the repository
    vectors       a store's chunks to nearest neighbours (FAISS)
    index         a root's entries, unsaved buffers over the disk
    symbols       an import to the definitions it binds
    surroundings  a cursor to the names, imports and similar lines around it
    ranking       what speaks for a definition to how likely it is needed
    candidates    surroundings to the definitions that may be needed
    search        a cursor to ranked snippets under a budget
    memory        the masked texts of a workspace, for whoever remembers how it is written
    lock          one writer for each workspace
    messages      what the indexing process and its owner say to each other
    indexer       the indexing process
    worker        its owner's end of the pipes

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
