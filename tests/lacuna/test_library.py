"""Imported models as a user meets them: import, list, info, use, verify, remove, and a message for each mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from lacuna import commands, library, model_commands
from lacuna.errors import ModelNameError, SettingsError
from lacuna.settings import read_settings, settings_file
from model_runtime import manifest
from model_runtime.importer import importer
from tests import checkpoints, daemons, ggufs, tiny


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet."""
    for name in [name for name in os.environ if name.startswith("LACUNA_")]:
        monkeypatch.delenv(name)
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def source(home: Path) -> Path:
    return checkpoints.starcoder2().write(home / "starcoder2-tiny")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs a command line; gives its exit code and what it printed, to both."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = commands.run(["model", *map(str, arguments)])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def test_a_model_is_imported_listed_chosen_verified_and_removed(home: Path, source: Path, said: Any) -> None:
    code, out, err = said("import", source, "--quant", "int8")
    assert (code, err) == (0, "")
    directory = home / "data" / "lacuna" / "models" / "starcoder2-tiny"
    assert out.startswith("starcoder2-tiny: 0M weights, int8, 0.00 GB, infills, in " + str(directory))
    assert "lacuna model use starcoder2-tiny" in out

    assert said("use", "starcoder2-tiny")[0] == 0
    assert read_settings().model_directory == directory
    code, out, _ = said("list", "--json")
    assert [(one["name"], one["answers"]) for one in json.loads(out) if one["answers"]] == [("starcoder2-tiny", True)]
    assert "* starcoder2-tiny" in said("list")[1]

    assert json.loads(said("info", "--json")[1])["layout"] == json.loads(said("info", directory, "--json")[1])["layout"]
    code, out, _ = said("verify")
    assert (code, out.count("ok  ")) == (0, 2)

    code, _, err = said("remove", "starcoder2-tiny")
    assert (code, directory.is_dir()) == (1, True)
    assert "is the model that answers; first run: lacuna model use embedded" in err
    assert said("use", "embedded")[0] == int(not library.is_model(manifest.embedded()))
    (home / "config" / "lacuna" / "config.toml").write_text("")
    assert said("remove", "starcoder2-tiny")[0] == 0
    assert list(directory.parent.iterdir()) == []


def test_the_model_that_came_along_is_not_removed(home: Path, said: Any) -> None:
    code, _, err = said("remove", "embedded")
    assert code == 1 and "is part of this installation and stays" in err


def test_a_model_is_sharded_listed_and_chosen(home: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = checkpoints.starcoder2().write(home / "starcoder2-tiny")
    assert said("import", source, "--quant", "fp32")[0] == 0
    code, out, err = said("shard", "starcoder2-tiny", "--ranks", "2")
    assert (code, err) == (0, "")
    assert "over 2 ranks" in out and "lacuna model use starcoder2-tiny-2" in out
    assert json.loads(said("info", "starcoder2-tiny-2", "--json")[1])["ranks"] == 2
    assert "over 2 ranks" in said("list")[1]

    code, _, err = said("shard", "starcoder2-tiny", "--ranks", "3")
    assert (code, err.count("\n"), "cannot be split evenly among 3 ranks; give --ranks" in err) == (1, 1, True)
    code, _, err = said("shard", "starcoder2-tiny", "--ranks", "2")
    assert (code, "is there already; remove it or choose another --name" in err) == (1, True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = said("verify", "starcoder2-tiny-2")
    assert (code, out.count("ok  "), err.count("\n")) == (1, 1, 1)
    assert "which need torch; install Lacuna with the extra shards" in err
    assert said("use", "starcoder2-tiny-2")[0] == 0
    assert said("remove", "starcoder2-tiny")[0] == 0


@pytest.mark.parametrize("form", get_args(model_commands.Quant))
def test_a_model_is_described_in_the_form_it_was_imported_in(form: str, home: Path, source: Path, said: Any) -> None:
    assert f"weights, {form}," in said("import", source, "--quant", form)[1]
    assert json.loads(said("info", "starcoder2-tiny", "--json")[1])["weights"] == form


def test_a_model_that_cannot_infill_says_so(home: Path, said: Any) -> None:
    source = checkpoints.gptj("codegen", n_positions=1024).write(home / "codegen-350M-mono")
    code, out, _ = said("import", source, "--quant", "fp16", "--name", "codegen", "--context", "512")
    assert code == 0
    assert "it cannot fill in the middle: it reads what stands before the cursor" in out
    assert "it serves 512 of 1024 tokens; --context for another number" in out
    assert "goes on from what stands before the cursor" in said("list")[1]


def test_a_model_directory_may_be_made_elsewhere_and_chosen_at_once(home: Path, source: Path, said: Any) -> None:
    code, _, err = said("import", source, "--out", home / "elsewhere" / "mine", "--use")
    assert (code, err) == (0, "")
    assert read_settings().model == home / "elsewhere" / "mine"
    assert "* mine" in said("list")[1]
    code, _, err = said("remove", home / "elsewhere" / "mine")
    assert (code, "delete it by hand" in err) == (1, True)


def test_a_gguf_is_imported_by_the_name_of_its_file(home: Path, said: Any) -> None:
    file = ggufs.write(home / "My Model-Q8_0.gguf", checkpoints.llama(), ggufs.Kind.Q8_0)
    code, out, err = said("import", file, "--quant", "int8")
    assert (code, err) == (0, "")
    assert "it cannot fill in the middle" in out
    assert manifest.read(library.folder() / "My-Model-Q8_0").weights == "int8"
    (home / "foreign.gguf").write_bytes(b"GGUF")
    code, _, err = said("import", home / "foreign.gguf")
    assert (code, err.count("\n")) == (1, 1)


def test_the_choice_leaves_the_other_settings_alone(home: Path) -> None:
    model = tiny.write(home / "model")
    path = settings_file()
    path.parent.mkdir(parents=True)
    path.write_text('# mine\nthreads = 2\nmodel = "~/old"  # once\nidle_exit = 60\n')
    library.use(model)
    assert tomllib.loads(path.read_text()) == {"threads": 2, "model": str(model), "idle_exit": 60}
    assert "# mine\n" in path.read_text()
    library.use(manifest.embedded())
    assert path.read_text() == "# mine\nthreads = 2\nidle_exit = 60\n"


def test_a_choice_that_the_environment_overrules_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACUNA_MODEL", "/somewhere")
    with pytest.raises(SettingsError, match="LACUNA_MODEL is set and goes before the settings file; unset it"):
        library.use(home)


def test_a_settings_file_that_cannot_be_written_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dotfiles").symlink_to("gone")
    monkeypatch.setenv("LACUNA_CONFIG", str(home / "dotfiles" / "config.toml"))
    with pytest.raises(SettingsError, match=r"cannot write .*config\.toml"):
        library.use(home)


def test_a_broken_settings_file_is_not_written_over(home: Path) -> None:
    path = settings_file()
    path.parent.mkdir(parents=True)
    path.write_text("threads = [")
    with pytest.raises(SettingsError, match="is not TOML"):
        library.use(home)
    assert path.read_text() == "threads = ["


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "embedded", "-x", "ä"])
def test_a_name_that_no_folder_can_have_is_refused(name: str, home: Path) -> None:
    with pytest.raises(ModelNameError, match="cannot be a model's name"):
        library.path_for(name)


def test_a_name_that_is_no_model_says_which_are(home: Path, said: Any) -> None:
    tiny.write(library.folder() / "mine")
    for command in ("use", "info", "verify", "remove"):
        code, _, err = said(command, "yours")
        assert (code, err.count("\n")) == (1, 1)
        assert "there is no model 'yours'; there are embedded, mine; import one with: lacuna model import DIR" in err


def test_a_second_import_of_the_same_name_is_refused(home: Path, source: Path, said: Any) -> None:
    assert said("import", source)[0] == 0
    code, _, err = said("import", source)
    assert (code, "is there already; remove it or import under another name" in err) == (1, True)
    assert said("import", source, "--name", "another")[0] == 0


def test_a_checkpoint_in_the_cache_is_called_as_its_repository(home: Path, said: Any) -> None:
    source = home / "hub" / "models--bigcode--starcoder2-3b" / "snapshots" / "733247c55e3f73af49ce8e9c7949bf14af205928"
    checkpoints.starcoder2().write(source)
    assert said("import", source, "--quant", "int4")[1].startswith("starcoder2-3b: ")


def test_a_folder_that_is_no_checkpoint_says_what_one_is(home: Path, said: Any) -> None:
    for path, words in ((home / "nothing", "is no folder"), (home, "which holds config.json, the tokenizer")):
        code, out, err = said("import", path)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert words in err


def test_a_harmed_model_is_found_by_verify_and_shown_by_list(home: Path, said: Any) -> None:
    directory = tiny.write(library.folder() / "mine")
    data = directory / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    code, _, err = said("verify", "mine")
    assert (code, "model.onnx.data has SHA-256" in err) == (1, True)
    data.write_bytes(content[:-1])
    code, out, _ = said("list")
    assert (code, "broken: " in out, "cut short or replaced" in out) == (0, True, True)


def test_the_command_knows_the_forms_that_the_importer_knows() -> None:
    assert get_args(model_commands.Quant) == get_args(importer.Quant)


def test_an_import_that_is_stopped_goes_on_with_the_same_command(home: Path) -> None:
    """A real process, a real signal, in the midst of the work."""
    checkpoint = checkpoints.llama()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):  # enough to be in the midst of it for a while
        checkpoint.tensors[name] = checkpoints.Maker().matrices({name: (40_000, 64)})[name]
    checkpoint.config["vocab_size"] = 40_000
    source = checkpoint.write(home / "large")
    checkpoints.byte_level([*checkpoints.END, *(f"<{n}>" for n in range(39_000))]).save(str(source / "tokenizer.json"))
    target = home / "made"
    with daemons.settings(home, home / "cache") as settings:
        from lacuna import isolation

        command = isolation.command("model", "import", str(source), "--out", str(target), "--quant", "int4")
        environment = daemons.environment(settings)
        running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        journal = home / ".made.partial" / "model.onnx.journal"
        until = time.monotonic() + daemons.PATIENCE
        while not (journal.exists() and journal.stat().st_size) and time.monotonic() < until:
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=daemons.PATIENCE)
        if running.returncode:  # else it was done before the signal came
            assert running.returncode == 130
            assert err.decode() == "lacuna: interrupted; the same command goes on from here\n"
            assert not target.exists()
            done = subprocess.run(command, env=environment, capture_output=True, timeout=daemons.PATIENCE)
            assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(".")) == []
    manifest.check(target, manifest.read(target))
