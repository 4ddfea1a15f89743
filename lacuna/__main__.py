"""`python -m lacuna`, and the file that an isolated Python is given to run; see `isolation`."""

import os
import sys

if not __package__:  # run by its path: make the folder that holds this package importable, installed or not
    _root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if _root not in sys.path:  # before other installations, after the standard library
        _installed = (at for at, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages")))
        sys.path.insert(next(_installed, len(sys.path)), _root)

from lacuna.cli import main

if __name__ == "__main__":
    main()
