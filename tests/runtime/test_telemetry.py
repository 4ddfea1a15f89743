"""The runtime's libraries leave no trace of the machine they run on, and have nothing to report to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import tiny

LOAD = """
import sys
from pathlib import Path
from model_runtime.opening import open_engine
engine = open_engine(Path(sys.argv[1]), cache=Path(sys.argv[2]))
engine.close()
"""


def test_loading_a_model_writes_nothing_but_into_the_cache(tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    home = tmp_path / "home"
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "CI", "GITHUB"))}
    environment = {**own, "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LOAD, str(model), str(tmp_path / "cache")]
    subprocess.run(command, env=environment, check=True, timeout=50)
    assert list((tmp_path / "cache").iterdir())
    assert list(home.rglob("*")) == []
