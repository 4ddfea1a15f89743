"""Turns a generated text into one that fits at the cursor. Does not ask the model.

Modules, each of which imports only those above it:

    truncation   how much is wanted at the cursor, and a text cut to that
    style        lines indented as the file is
    postprocess  a text as it must be to fit there
    suggestion   what the model wrote → what is shown
"""
