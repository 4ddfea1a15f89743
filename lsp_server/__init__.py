"""Speaks to editors: edits and requests in, suggestions out.

Only `wire`, `protocol` and `server` know the protocol's types. Modules, each of which imports only
those above it:

    journal       what came of requests and suggestions, on the disk if the user wants it
    options       what an editor sends as configuration → Settings
    document      the editor's text as a list of lines
    session       what the editor has told so far → Snapshot
    lexis         brackets, quotes and comments, by their look
    trigger       answer now, wait, or skip
    scope         the definitions around the cursor
    window        what the model sees of the file, in pieces that keep still
    extent        how much is wanted at the cursor, and a text cut to that
    style         lines indented as the file is
    mending       a text as it must be to fit there
    suggestion    what the model wrote → what is shown
    gate          whether it is likely enough to be shown
    soundness     as much of it as adds no error to the code
    context       what is known from elsewhere, found once for a scope
    indexing      the repositories' related code, by processes of their own
    link          the way to the service
    teaching      a workspace's texts to the service that writes in it
    generation    one request to the model and its text as it grows
    memory        earlier generations, for typing through
    desk          what outlives a request
    completion    the pipeline
    requests      those being answered: the newest wins
    tasks         work that goes on by itself
    ahead         what makes the next key quick
    pause         when there is time for it
    traces        how much of an accepted text is still there
    acceptance    what became of what was shown
    timing        where the time of an answer went
    keeping       the user's own statistics, if they want any
    standing      what a status bar shows
    transport     bytes on a pipe ↔ whole messages
    wire          the protocol's types ↔ ours
    protocol      messages → calls and replies, with what pygls gets wrong mended
    documents     an edit, told to everything that goes by the text
    telling       the state and the times, told to an editor that wants them
    answering     a request → the texts that are shown
    parts         all of these, put together for one editor
    server        the protocol's handlers

Start with `server.run(connect, indexing)`; `connect` is awaited for a `link.Service`.
"""
