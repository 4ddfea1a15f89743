"""Arguments in, the command line of an isolated Python that runs this very Lacuna out.

Our package names are generic (`retrieval`, `model_runtime`): in a repository that has a folder of such a
name, with PYTHONPATH=. or by the current folder, an ordinary Python would import the repository's code.
`python -I` ignores both. Imports nothing but the standard library's core, for it runs first.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def command(*arguments: str) -> list[str]:
    """A command that runs `lacuna` isolated, from the same files as this process, installed or not."""
    return [sys.executable, "-I", os.path.join(_FOLDER, "__main__.py"), *arguments]


def enter() -> None:
    """Return if this Python is isolated; otherwise begin anew in one that is, with the same arguments."""
    if sys.flags.isolated:
        return
    again = command(*sys.argv[1:])
    if sys.platform == "win32":  # its exec leaves the console to the shell while the new process still writes
        import subprocess

        sys.exit(subprocess.call(again))
    os.execv(again[0], again)
