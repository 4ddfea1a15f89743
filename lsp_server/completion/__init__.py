"""Turns a cursor into suggestions, from the trigger to the gate. Does not speak the editor's protocol.

Modules, each of which imports only those above it:

    trigger           answer now, wait, or skip
    gate              whether it is likely enough to be shown
    syntax_check      as much of it as adds no error to the code
    generation        one request to the model and its text as it grows
    suggestion_cache  earlier generations, for typing through
    completion_state  what outlives a request
    completion        the pipeline
    requests          those being answered: the newest wins
    tasks             work that goes on by itself
    prefetch          what makes the next key quick
    freshness         files that changed, and the prompts that show them
    idle              when there is time for it
"""
