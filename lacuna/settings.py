"""Settings file and environment in, one frozen Settings out. Looks at nothing else.

The file is $LACUNA_CONFIG, or config.toml in $XDG_CONFIG_HOME/lacuna (~/.config/lacuna):

    model = "~/models/mine"   # a model directory; without it, the embedded model
    threads = 2               # of the network; without it, chosen by the machine
    kv_cache = 96             # megabytes that the model may remember of what it read
    provider = "cpu"          # what computes: "cpu", or "cuda" or "tensorrt" with a graphics processor
    server = "https://…:8443" # a team's server, or an engine of another project; and what is needed to reach it:
                              # token_file, ca, client_cert, client_key, engine, engine_model, fim, fallback,
                              # share_memory
    idle_exit = 1800          # seconds without a request after which the daemon ends; 0 never

LACUNA_MODEL, LACUNA_THREADS, LACUNA_KV_CACHE, LACUNA_PROVIDER, LACUNA_IDLE_EXIT, LACUNA_SERVER, LACUNA_TOKEN_FILE,
LACUNA_CA, LACUNA_CLIENT_CERT, LACUNA_CLIENT_KEY, LACUNA_ENGINE, LACUNA_ENGINE_MODEL, LACUNA_FIM, LACUNA_FALLBACK and
LACUNA_SHARE_MEMORY go before the file. By environment alone: LACUNA_TOKEN, which editors hand over and which so is in
no file of ours; LACUNA_RUNTIME_DIR (the daemon's socket, lock and log), LACUNA_LOG (the log by itself) and
LACUNA_CACHE_DIR (derived graphs; else $XDG_CACHE_HOME/lacuna or ~/.cache/lacuna).
An empty variable counts as none.
"""

from __future__ import annotations

import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from lacuna.errors import SettingsError
from model_runtime import manifest

IDLE_EXIT = 1800.0


Engine = Literal["lacuna", "openai", "llama.cpp"]
Provider = Literal["cpu", "cuda", "tensorrt"]


class Remote(msgspec.Struct, frozen=True):
    """A server elsewhere, and how to reach it; paths are absolute.

    ca: authorities to trust; certificate, key: ours to show. engine: whose protocol it speaks; model, fim: see
    `model_runtime.client.external_engines.Manner`. fallback: the local model answers while it is away.
    share_memory: it may know the texts of whole workspaces.
    """

    url: str
    token: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    engine: Engine = "lacuna"
    model: str | None = None
    fim: str | None = None
    fallback: bool = True
    share_memory: bool = False

    def __repr__(self) -> str:
        return f"Remote({self.url})"  # the token stays out of tracebacks and logs


class Settings(msgspec.Struct, frozen=True):
    """What the user wants; paths are absolute.

    kv_cache: megabytes; idle_exit: seconds, 0 never; runtime: None finds a folder.
    """

    cache: Path
    model: Path | None = None
    threads: int | None = None
    kv_cache: int | None = None
    provider: Provider = "cpu"
    idle_exit: float = IDLE_EXIT
    runtime: Path | None = None
    log: Path | None = None
    remote: Remote | None = None

    @property
    def model_directory(self) -> Path:
        """The model that answers. Raises SettingsError when none was named and this installation holds none."""
        if self.model is not None:
            return self.model
        embedded = manifest.embedded()
        if not (embedded / manifest.MANIFEST).is_file():
            raise SettingsError(
                f"there is no model in {embedded}; install Lacuna again, or name a model directory "
                "with --model, LACUNA_MODEL or in the settings"
            )
        return embedded

    def to_environment(self) -> dict[str, str]:
        """Variables from which `read` makes these settings again, in a process of ours."""
        values = {
            "LACUNA_CACHE_DIR": self.cache,
            "LACUNA_MODEL": self.model,
            "LACUNA_THREADS": self.threads,
            "LACUNA_KV_CACHE": self.kv_cache,
            "LACUNA_PROVIDER": self.provider,
            "LACUNA_IDLE_EXIT": self.idle_exit,
            "LACUNA_RUNTIME_DIR": self.runtime,
            "LACUNA_LOG": self.log,
            "LACUNA_SERVER": None,  # processes of ours are the local side of it, and need no token
            "LACUNA_TOKEN": None,
        }
        return {name: "" if value is None else str(value) for name, value in values.items()}


class _Options(msgspec.Struct, frozen=True):
    """As a user writes them."""

    model: str | None = None
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    kv_cache: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    provider: Provider = "cpu"
    idle_exit: Annotated[float, msgspec.Meta(ge=0)] | None = None
    server: Annotated[str, msgspec.Meta(pattern="^https?://[^/ ]+")] | None = None
    token_file: str | None = None
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    engine: Engine = "lacuna"
    engine_model: str | None = None
    fim: Annotated[str, msgspec.Meta(pattern=r"\{prefix\}")] | None = None
    fallback: bool = True
    share_memory: bool = False


_HOMELESS = "there is no home folder; set HOME, or LACUNA_CONFIG and LACUNA_CACHE_DIR"
_PATHS = ("model", "token_file", "ca", "client_cert", "client_key")  # relative to the file they are named in


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The user's settings. Raises SettingsError, which names the file or variable and the cure."""
    path = settings_file(environment)
    options = _Options(**{**_from_file(path), **_from_environment(environment)})
    return Settings(
        cache=cache_folder(environment),
        model=None if options.model is None else Path(options.model),
        threads=options.threads,
        kv_cache=options.kv_cache,
        provider=options.provider,
        idle_exit=IDLE_EXIT if options.idle_exit is None else options.idle_exit,
        runtime=_path(environment, "LACUNA_RUNTIME_DIR"),
        log=_path(environment, "LACUNA_LOG"),
        remote=None if options.server is None else _remote(options, options.server, environment),
    )


def _remote(options: _Options, url: str, environment: Mapping[str, str]) -> Remote:
    token = environment.get("LACUNA_TOKEN") or None
    if token is None and options.token_file is not None:
        try:
            token = Path(options.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read a token from {options.token_file}: {error}; mend token_file") from error
    if token is not None and not (token.isascii() and token.isprintable()):
        raise SettingsError("the token for the server holds what no token holds; sign in again, or mend LACUNA_TOKEN")
    return Remote(
        url=url,
        token=token,
        ca=options.ca,
        certificate=options.client_cert,
        key=options.client_key,
        engine=options.engine,
        model=options.engine_model,
        fim=options.fim,
        fallback=options.fallback,
        share_memory=options.share_memory,
    )


def settings_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the settings file is, or would be."""
    named = _path(environment, "LACUNA_CONFIG")
    return named or _folder(environment, "", "XDG_CONFIG_HOME", ".config") / "config.toml"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where what can be made again is kept. Raises SettingsError when there is no home."""
    return _folder(environment, "LACUNA_CACHE_DIR", "XDG_CACHE_HOME", ".cache")


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where what is worth keeping is kept; it need not be there yet."""
    return _folder(environment, "", "XDG_DATA_HOME", ".local/share")


def journal_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where what became of suggestions is kept, if the user wants that; it need not be there yet."""
    return data_folder(environment) / "journal"


def _from_file(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; mend its rights or remove it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}; mend or remove it") from error
    known = _Options.__struct_fields__
    if unknown := [key for key in raw if key not in known]:
        raise SettingsError(f"{path} sets {unknown[0]!r}, which is no setting; there are {', '.join(known)}")
    options = _checked(raw, str(path), strict=True)
    for name in options.keys() & set(_PATHS):
        options[name] = str(path.parent / _expanded(options[name], str(path)))
    return options


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key in _Options.__struct_fields__:
        name = f"LACUNA_{key.upper()}"
        if environment.get(name):
            options |= _checked({key: environment[name]}, f"the environment variable {name}", strict=False)
    for name in options.keys() & set(_PATHS):
        options[name] = str(_expanded(options[name], f"LACUNA_{name.upper()}").absolute())
    return options


def _checked(raw: dict[str, Any], source: str, *, strict: bool) -> dict[str, Any]:
    try:
        options = msgspec.convert(raw, _Options, strict=strict)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source} cannot be used: {error}") from error
    return {key: getattr(options, key) for key in raw}


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name)
    return _expanded(value, name).absolute() if value else None


def _expanded(path: str, source: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{source} names {path}, but there is no such home folder; write it out") from error


def _folder(environment: Mapping[str, str], own: str, standard: str, fallback: str) -> Path:
    if (named := _path(environment, own)) is not None:
        return named
    base = environment.get(standard, "")
    if os.path.isabs(base):  # the XDG specification: a relative path is to be ignored
        return Path(base) / "lacuna"
    return _home(environment) / fallback / "lacuna"


def _home(environment: Mapping[str, str]) -> Path:
    """The home folder, or for a user without one a private folder among the temporary ones."""
    if named := environment.get("HOME"):
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return _passing_home()


def _passing_home() -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    folder = Path(tempfile.gettempdir()) / f"lacuna-home-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise SettingsError(_HOMELESS) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid != user:
        raise SettingsError(f"{_HOMELESS}; {folder} belongs to somebody else")
    return folder
