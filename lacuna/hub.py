"""A model's name on a Hugging Face hub in, its files on this disk out: looked at first, then fetched, then checked.

The only module that fetches anything. `huggingface_hub` does it, which knows the endpoint, the token, proxies,
certificates, its cache and how to go on after an interruption. It looks at no checksums, so they are checked here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacuna.errors import HubError

Show = Callable[[int, int], None]  # bytes done, bytes in all

_NAME = re.compile(
    r"(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./ -]+\.gguf))?(?:@(?P<revision>[\w./-]+))?", re.ASCII
)
_SPLIT = re.compile(r"-\d{5}-of-(?P<count>\d{5})\.gguf$")
_BESIDE: tuple[str, ...] = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)
_BESIDE += ("merges.txt", "added_tokens.json", "special_tokens_map.json", "README.md")
_LICENCE = re.compile(r"(LICEN[CS]E|NOTICE|USE_POLICY)(\.\w+)?")
_SAFETENSORS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
_PYTORCH = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin(\.index\.json)?")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository. sha256: of large files; blob: of the others, as git names their content."""

    name: str
    bytes: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class RemoteModel:
    """What would be fetched. commit: the revision, as it is now; file: the GGUF that was meant, "" for a checkpoint."""

    repository: str
    commit: str
    licence: str
    file: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(one.bytes for one in self.files)


def look_up(name: str) -> RemoteModel:
    """Asks the hub what a name stands for: REPOSITORY or REPOSITORY/FILE.gguf, with @REVISION or without.

    Raises HubError for a name that is none, and when the hub does not answer or does not want to.
    """
    told = _NAME.fullmatch(name)
    if told is None:
        raise HubError(
            f"{name!r} is no model's name; give OWNER/REPOSITORY, OWNER/REPOSITORY/FILE.gguf, or either @REVISION"
        )
    with _told(told["repository"]):
        info = _library().HfApi().model_info(told["repository"], revision=told["revision"], files_metadata=True)
    files = [_remote(one) for one in info.siblings or []]
    file = told["file"] or _only_gguf(told["repository"], files)
    wanted = _parts(file, files) if file else _checkpoint(files)
    if not wanted or any(one.bytes <= 0 for one in wanted):
        what = file or "neither safetensors nor PyTorch weights with config.json"
        raise HubError(f"{told['repository']} holds {'no ' if file else ''}{what}; name another")
    licence = (info.card_data or {}).get("license") or "unknown"
    return RemoteModel(told["repository"], str(info.sha), str(licence)[:60], file, tuple(wanted))


def fetch(model: RemoteModel, show: Show = lambda done, total: None) -> Path:
    """The file or folder to import, in the hub's cache. What was fetched before is not fetched again.

    Raises HubError when the hub breaks off for good or sends other bytes than it said, and when there is no room.
    """
    library = _library()
    _check_room(model, Path(library.constants.HF_HUB_CACHE))
    behind, places = 0, {}
    for one in model.files:
        bar = _bar(behind, model.bytes, show)
        with _told(model.repository):
            found = library.hf_hub_download(model.repository, one.name, revision=model.commit, tqdm_class=bar)
        places[one.name] = path = Path(found)
        _check(path, one)
        behind += one.bytes
        show(behind, model.bytes)
    return places[model.file] if model.file else places["config.json"].parent


def _library() -> Any:
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # it counts its downloads for its makers, unless told not to
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError("models are fetched with huggingface_hub; install Lacuna with the extra hub") from error
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what went wrong is said once, by an exception
    return huggingface_hub


def _remote(one: Any) -> RemoteFile:
    digest = one.lfs.sha256 if one.lfs is not None else None
    return RemoteFile(str(one.rfilename), int(one.size or 0), digest, one.blob_id)


def _only_gguf(repository: str, files: list[RemoteFile]) -> str:
    """The GGUF of a repository that has one and no checkpoint; "" where there is a checkpoint."""
    if _checkpoint(files):
        return ""
    found = [one.name for one in files if one.name.endswith(".gguf") and not _later(one.name)]
    if len(found) > 1:
        raise HubError(f"{repository} holds {len(found)} GGUF files; name one: {', '.join(found[:20])}")
    return found[0] if found else ""


def _later(name: str) -> bool:
    return _SPLIT.search(name) is not None and "-00001-of-" not in name


def _parts(file: str, files: list[RemoteFile]) -> list[RemoteFile]:
    """The files of a GGUF, all of them where it is split."""
    if (split := _SPLIT.search(file)) is None:
        return [one for one in files if one.name == file]
    stem = file[: split.start()]
    found = [one for one in files if one.name.startswith(stem) and _SPLIT.fullmatch(one.name[len(stem) :])]
    return found if len(found) == int(split["count"]) else []


def _checkpoint(files: list[RemoteFile]) -> list[RemoteFile]:
    """A checkpoint's files, safetensors before PyTorch's; none where it is not whole."""
    weights = [one for one in files if _SAFETENSORS.fullmatch(one.name)] or [
        one for one in files if _PYTORCH.fullmatch(one.name)
    ]
    beside = [one for one in files if one.name in _BESIDE or _LICENCE.fullmatch(one.name)]
    return [*beside, *weights] if weights and any(one.name == "config.json" for one in beside) else []


def _check_room(model: RemoteModel, cache: Path) -> None:
    there = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if model.bytes > free:
        raise HubError(
            f"{model.repository} takes {model.bytes / 1e9:.1f} GB and {there} has {free / 1e9:.1f} GB left; make room, "
            "or set HF_HOME to another disk"
        )


def _check(path: Path, told: RemoteFile) -> None:
    """The bytes are those that the hub told of before; if not, they are thrown away."""
    digest = hashlib.sha256() if told.sha256 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    expected = told.sha256 or told.blob
    if expected is not None and digest.hexdigest() != expected:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise HubError(f"{told.name} came with another checksum than the hub gave for it and was deleted; try again")


def _bar(behind: int, total: int, show: Show) -> Any:
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """What the library reports to; it prints nothing itself."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            named.pop("name", None)
            super().__init__(*arguments, **{**named, "disable": True})
            self._done = behind + int(named.get("initial") or 0)

        def update(self, count: float | None = 1) -> bool | None:
            self._done += int(count or 0)
            show(min(self._done, total), total)
            return None

    return Bar


@contextlib.contextmanager
def _told(repository: str) -> Iterator[None]:
    """What may go wrong between here and the hub, as one error."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"{repository} is only for those who accepted its terms; accept them on its page and set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"the hub has no {repository}, or not for you; check the name, or set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repository} has no such revision; leave out what follows the @") from error
    except HubError:
        raise
    except Exception as error:  # the library lets its HTTP client's exceptions through, and OSError for short files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise HubError(f"{repository} could not be fetched ({reason}); the same command goes on from here") from error
