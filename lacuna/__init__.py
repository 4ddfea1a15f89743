"""The face: command line, settings file, daemon, doctor. Composes the other packages; nothing imports it.

Modules, each of which imports only those above it:

    errors          every exception a caller may catch, as one tree
    isolation       the command line of an isolated Python
    settings        settings file and environment
    build           which build this is, and which of two is newer
    place           the daemon's private folder and the names in it
    lock            one holder at a time, to the end of its life
    log             a small file without user code
    daemon_server   the daemon's own side
    daemon          find, start, replace and stop the daemon
    remote          a server elsewhere, with the daemon in its place while it is away
    editor          the language server, composed
    position        FILE:LINE:COL
    completion      a cursor to what belongs there
    models          what a model directory holds
    library         the user's imported models, and which of them answers
    doctor          is everything as it should be
    fresh           what files say, read anew when they change
    tokens          a team server's tokens, and the commands that change them
    audit           what a team server was asked, without code
    server          the team server
    model_commands  the commands of the library
    stats           the journal of suggestions → what can be said about it
    stats_html      that as a page for a browser
    report          the command that says it
    purge           what was written on this machine, and its removal
    repository      the commands of the repository
    commands        the command line
    cli             the command's entry
"""

__version__ = "0.1.0"
