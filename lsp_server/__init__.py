"""Speaks to editors: edits and requests in, suggestions out.

Only `wire` and `server` know the protocol's types. Modules, each of which imports only
those above it:

    options       what an editor sends as configuration → Settings
    document      the editor's text as a list of lines
    session       what the editor has told so far → Snapshot
    trigger       answer now, wait, or skip
    scope         the definitions around the cursor
    window        what the model sees of the file, in pieces that keep still
    suggestion    what the model wrote → what is shown
"""
