"""Turns one text into its tree, its outline and its chunks. Does not know other files.

Modules, each of which imports only those above it:

    syntax      a text's tree: does an edit break it
    insertion   a text at a cursor to how much of it adds no error
    clauses     an import statement to the names it binds
    outlines    definitions, imports and references of a text
    signatures  the text that stands for a definition in a prompt
    chunks      a text in pieces of some dozen lines
"""
