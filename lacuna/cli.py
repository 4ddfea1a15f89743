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
    if "--stdio" in arguments[:1]:  # what follows it are things that editors add for themselves
        from lacuna import editor
        from lacuna.errors import SettingsError

        try:
            sys.exit(editor.run())
        except SettingsError as error:
            sys.exit(f"lacuna: {error}")
    from lacuna import commands

    sys.exit(commands.run(arguments))
