"""Speaks to editors: edits and requests in, suggestions out.

Only `wire`, `protocol` and `server` know the protocol's types. Modules, each of which imports only
those above it:

    editor/      what the editor shows: settings, texts, the part around the cursor
    rpc/         bytes on a pipe to calls with our types, and back
    feedback/    what became of suggestions
    shaping/     a generated text to one that fits at the cursor
    related/     the workspace's index, and the way to the service
    completion/  a cursor to suggestions, from the trigger to the gate
    status/      how the server is and does, told to the user
    documents    an edit, told to everything that goes by the text
    handler      a request → the texts that are shown
    wiring       all of these, put together for one editor
    server       the protocol's handlers

Start with `server.run(connect, indexing)`; `connect` is awaited for a `related.connection.Service`.
"""
