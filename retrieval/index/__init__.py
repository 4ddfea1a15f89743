"""Turns a workspace into an index on the disk. Does not rank.

Modules, each of which imports only those above it:

    ignore        what Git and the user want passed over
    workspace     the files of a root that may be indexed
    masked_texts  the masked texts of a workspace, for whoever remembers how it is written
    entries       everything an index keeps about one file
    store         entries in SQLite
    dependencies  an import that leads out of the workspace to what is installed
    edits         two versions of a text to what changed
    embedding     texts to vectors, by an embedder learnt from the repository
    vectors       a store's chunks to nearest neighbours (FAISS)
    index         a root's entries, unsaved buffers over the disk
"""
