"""Holds what the editor shows: its settings, its texts, the part around the cursor. Does not speak its protocol.

Modules, each of which imports only those above it:

    options   what an editor sends as configuration → Settings
    document  the editor's text as a list of lines
    session   what the editor has told so far → Snapshot
    language  the language at a cursor, that of an embedded script too
    comments  what opens a comment, and where it does
    brackets  brackets, quotes and comments, by their look
    scope     the definitions around the cursor
    window    what the model sees of the file, in pieces that keep still
"""
