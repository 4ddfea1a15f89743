"""The command's entry: isolates Python, then does the quick things itself and hands the rest to `commands`.

Imports next to nothing at its top: it runs before isolation, and `lacuna --version` and `lacuna --stdio`
must not wait for a command line library.
"""

import sys

from lacuna import __version__, isolation


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    isolation.enter()
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"lacuna {__version__}")
        return
    from lacuna import commands

    sys.exit(commands.run(arguments))
