"""The promises of ARCHITECTURE.md that a machine can keep: who imports whom, and what no file may hold."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("lacuna", "lsp_server", "retrieval", "model_runtime")
PACKAGES = (*SHIPPED, "training", "benchmarks")

# What each package may import of the others; a dotted name allows that module alone.
DIRECTIONS = {
    "lacuna": {"lsp_server", "retrieval", "model_runtime"},
    "lsp_server": {
        "retrieval",
        "model_runtime.client",
        "model_runtime.errors",
        "model_runtime.prompt",
        "model_runtime.protocol",
    },
    "retrieval": set(),
    "model_runtime": set(),
    "training": {"retrieval", "model_runtime"},
    "benchmarks": {"lacuna", "lsp_server", "retrieval", "model_runtime", "training"},
}

# The only places of the shipped packages and of training where a library may be imported.
HOMES = {
    "onnxruntime": {"model_runtime"},
    "onnx": {"model_runtime", "training"},
    "tokenizers": {"model_runtime", "training"},
    "gguf": {"model_runtime.importer"},
    "httpx": {"model_runtime.client"},
    "starlette": {"model_runtime.service", "model_runtime.gateway"},
    "uvicorn": {"model_runtime.service.server", "model_runtime.gateway", "lacuna"},
    "faiss": {"retrieval"},
    "tree_sitter": {"retrieval"},
    "lsprotocol": {"lsp_server.rpc", "lsp_server.server"},
    "pygls": {"lsp_server.rpc.protocol", "lsp_server.server"},
    "torch": {"training", "model_runtime.sharding.rank_process"},
    "typer": {"lacuna"},
    "rich": {"lacuna"},
}

# Modules that run by path in another environment, with what that has to hold.
ELSEWHERE = {"benchmarks.llama_peer": {"gguf", "llama_cpp"}}

VAGUE = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


def tracked() -> list[Path]:
    """Every file that is in the repository, or would be after `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=30,
    )
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of each tracked text file; a file of bytes is passed over."""
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw[:8192]:
            yield path.relative_to(ROOT).as_posix(), raw.decode("utf-8", errors="replace")


@cache
def modules() -> dict[str, Path]:
    """Dotted name → file, for every module of every package; a package's own name is its __init__."""
    found = {}
    for path in tracked():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.suffix == ".py" and parts[0] in PACKAGES:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it; `from a import b` names a.b where that is a module of ours."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {name for name in inner if name in modules()}
            names |= ours
            if len(ours) < len(inner):
                names.add(node.module)
    return names


def is_within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def listed(place: str) -> list[str]:
    """The modules and folders that the docstring of a package or of a folder in it lists, in its order."""
    text = ast.get_docstring(parsed(modules()[place])) or ""
    return re.findall(r"^ {4}([a-z_0-9]+)/?(?: {2,}\S.*| →.*)$", text, flags=re.MULTILINE)


def inside(place: str) -> list[str]:
    """The modules and folders right inside a package or a folder, by their own names."""
    prefix = place + "."
    tops = {name.removeprefix(prefix).split(".")[0] for name in modules() if name.startswith(prefix)}
    return sorted(tops - {"__main__"})


@cache
def places() -> tuple[str, ...]:
    """The packages, and every folder of modules in them."""
    return tuple(sorted(name for name, path in modules().items() if path.name == "__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_between_packages_go_one_way(package: str) -> None:
    wrong = []
    for name, path in modules().items():
        if not is_within(name, package):
            continue
        for target in imported(path):
            top = target.split(".")[0]
            if top not in PACKAGES or top == package:
                continue
            if not any(is_within(target, allowed) for allowed in DIRECTIONS[package]):
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_each_folder_of_modules_has_a_docstring() -> None:
    folders = {".".join(name.split(".")[:-1]) for name in modules() if "." in name}
    assert folders - set(places()) == set(), "a folder of modules needs an __init__.py that lists them"


@pytest.mark.parametrize("place", places())
def test_each_module_is_listed_in_its_folder(place: str) -> None:
    listing = f"{place.replace('.', '/')}/__init__.py"
    assert set(inside(place)) - set(listed(place)) == set(), f"list these in {listing}, in order of import"


@pytest.mark.parametrize("place", places())
def test_each_listed_module_exists(place: str) -> None:
    listing = f"{place.replace('.', '/')}/__init__.py"
    assert set(listed(place)) - set(inside(place)) == set(), f"{listing} lists what is not there"


@pytest.mark.parametrize("place", places())
def test_a_module_imports_only_modules_listed_above_it(place: str) -> None:
    """Between the modules of a package, between its folders, and inside each of them."""
    order = listed(place)
    assert len(order) == len(set(order)), "a module is listed twice"
    wrong = []
    for name, path in modules().items():
        if not name.startswith(place + "."):
            continue
        own = name.removeprefix(place + ".").split(".")[0]
        for target in imported(path):
            if not target.startswith(place + "."):
                continue
            other = target.removeprefix(place + ".").split(".")[0]
            if {own, other} <= set(order) and order.index(other) > order.index(own):
                wrong.append(f"{name} imports {target}, and {other} is listed below {own}")
    assert not wrong


@pytest.mark.parametrize("place", places())
def test_a_folder_hands_on_no_names(place: str) -> None:
    """A folder's `__init__` holds its list and nothing to import, so that a name has one home."""
    if "." in place:
        assert [type(node) for node in parsed(modules()[place]).body] == [ast.Expr]


@cache
def installed() -> Mapping[str, list[str]]:
    """Module → the distributions that hold it, in this environment."""
    return importlib.metadata.packages_distributions()


def declared(*extras: str) -> set[str]:
    """Names of the distributions that pyproject.toml asks for, without and with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in wanted}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        *((name, ("cpu", "shards")) for name in SHIPPED),
        ("training", ("cpu", "train", "finetune", "dev")),
        ("benchmarks", ("cpu", "dev")),
    ],
)
def test_each_library_is_a_declared_dependency(folder: str, extras: tuple[str, ...]) -> None:
    found = installed()
    undeclared = set()
    for name, path in modules().items():
        tops = {target.split(".")[0] for target in imported(path)} if is_within(name, folder) else set()
        for top in tops - set(PACKAGES) - {"tests"} - sys.stdlib_module_names - ELSEWHERE.get(name, set()):
            distributions = {one.lower().replace("_", "-") for one in found.get(top, [top])}
            if not distributions & declared(*extras):
                undeclared.add(f"{name} imports {top}")
    assert not undeclared


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_stays_in_its_home(library: str) -> None:
    wrong = []
    for name, path in modules().items():
        if is_within(name, "benchmarks"):  # a judge may use any instrument
            continue
        uses = any(is_within(target, library) or target.startswith(library + "_") for target in imported(path))
        if uses and not any(is_within(name, home) for home in HOMES[library]):
            wrong.append(name)
    assert not wrong, f"{library} belongs in {sorted(HOMES[library])}"


def test_each_module_opens_with_a_docstring() -> None:
    silent = []
    for path in tracked():
        if path.suffix == ".py" and path.stat().st_size and not ast.get_docstring(parsed(path)):
            silent.append(path.relative_to(ROOT).as_posix())
    assert not silent


def test_no_module_has_a_vague_name() -> None:
    vague = [name for name in modules() if VAGUE & set(re.split(r"[._]", name))]
    assert not vague


def test_no_file_names_a_package_registry() -> None:
    hosts = [
        left + right
        for left, right in (
            ("py", "pi.org"),
            ("python", "hosted.org"),
            ("npm", "js.org"),
            ("npm", "js.com"),
            ("yarn", "pkg.com"),
            ("deb", "ian.org"),
            ("crates", ".io"),
            ("golang", ".org"),
        )
    ]
    named = [(file, host) for file, text in texts() for host in hosts if host in text]
    assert not named


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    places = re.compile(
        r"(?<![\w.])(?:/home/(?!user/|you/|me/)\w+/|/Users/(?!user/|you/|me/)\w+/|/root/\.|/opt/w/|/work/(?:main|shared))"
    )
    named = [
        (file, found.group())
        for file, text in texts()
        if file != "tests/test_tidy.py" and (found := places.search(text))
    ]
    assert not named


def test_locks_hold_versions_and_hashes_and_no_address() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [lock.stem for lock in locks] == ["dev", "gpu", "parity", "run", "shards", "train"]
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text, lock.name
        assert not re.search(r"^--?(?!-hash)[a-z]", text, flags=re.MULTILINE), f"{lock.name} holds an option"
        requirements = re.split(r"\n(?=\S)", text.strip())
        unhashed = [one.split()[0] for one in requirements if "--hash=sha256:" not in one or "==" not in one]
        assert not unhashed, lock.name


def test_no_lock_holds_both_flavours_of_the_runtime() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        names = set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))
        flavours = {name for name in names if name.startswith("onnxruntime")}
        assert len(flavours) == 1, lock.name
        assert flavours == ({"onnxruntime-gpu"} if lock.stem == "gpu" else {"onnxruntime"})


def test_node_locks_hold_no_address() -> None:
    for path in tracked():
        if path.name in {"package-lock.json", "npm-shrinkwrap.json"}:
            assert '"resolved": "http' not in path.read_text(encoding="utf-8"), path
