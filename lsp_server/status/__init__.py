"""Tells the user how the server is and how it does. Does not change what it does.

Modules, each of which imports only those above it:

    timing          where the time of an answer went
    journal_writer  the user's own statistics, if they want any
    status          what a status bar shows
    notifications   the state and the times, told to an editor that wants them
"""
