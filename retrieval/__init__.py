"""Reads code: files in, ranked snippets out, under a budget.

Knows nothing of token ids, editors or models. Modules, each of which imports only
those above it:

    errors        every exception a caller may catch, as one tree
    languages     a file's name to its language
    secrets       keys, tokens and passwords in a text, starred out
    workspace     the files of a root that may be indexed
    syntax        definitions, imports and references of a text; does an edit break it
    signatures    the text that stands for a definition in a prompt
    entries       everything an index keeps about one file
    modules       an import to the paths it may mean
    store         entries in SQLite
    index         a root's entries, unsaved buffers over the disk
    symbols       an import to the definitions it binds
    search        a cursor to ranked snippets under a budget

The live interface: `index.build(root)` makes an Index (in a worker thread: it reads every file);
`index.with_buffer(index, path, text)` makes the one that an edit leads to. `search.scope(text,
offset)` is a key, made in microseconds: as long as it and the path stay the same, so does the
context. When it changes, `search.context(query, index, count, budget)` finds the snippets, off the
event loop and ahead of the key; a keystroke only reads what was found for its scope.
"""
