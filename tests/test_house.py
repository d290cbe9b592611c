"""The layers of the code: imports run one way, and the client never imports the agent."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
AGENT, CLIENT = ROOT / "agent" / "auth_agent", ROOT / "client" / "auth_agent_client"
MODULES = sorted([*AGENT.rglob("*.py"), *CLIENT.rglob("*.py")])

# From top to bottom: a module may import its own layer and those below.
LAYERS = [
    "__main__",
    "cli",
    "mcp",
    "daemon",
    "service",
    "ipc",
    "notification",
    "files",
    "sessions",
    "loopback",
    "oauth",
    "storage",
    "worker",
    "config",
    "bottom",
]
BOTTOM = {
    *("defect", "errors", "grant_type", "host", "json_object", "log_limit", "logs", "printable", "promise", "proxies"),
    *("remedies", "secret", "added_parameters", "signing_algorithms", "token_type", "urls", "__init__"),
}
# Modules that share a layer with another one.
SAME_LAYER = {
    "upkeep": "daemon",
    "config_file": "config",
    "config_path": "config",
    "hosts": "config",
    "token_files": "config",
    "toml_text": "config",
}

# The keyring library itself imports this backend, in programs of others.
KEYRINGS_OWN = CLIENT / "keyring.py"
# For the worker alone: they cost memory, or may hang.
WORKERS_OWN = ("keyring", "secretstorage", "cryptography", "joserfc")


def layer(module: str) -> int:
    """Return the layer of a module of the agent, by its name without the package's."""
    first = module.partition(".")[0] or "__init__"
    return LAYERS.index("bottom" if first in BOTTOM else SAME_LAYER.get(first, first))


def name_of(path: Path) -> str:
    """Return a module's full name."""
    parts = path.with_suffix("").relative_to(ROOT).parts[1:]
    return ".".join(parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Return the modules of this project that a module imports, by full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # the linter allows the package's own only
                base = f"{path.parent.name}.{base}"
            # `from auth_agent.oauth import id_token` imports a module if there is one of that name.
            modules = {f"{base}.{alias.name}" for alias in node.names}
            names.update({name for name in modules if _is_module(name)} or {base})
    return {name for name in names if name.partition(".")[0] in {"auth_agent", "auth_agent_client"}}


def _is_module(name: str) -> bool:
    path = Path(*name.split("."))
    return any((ROOT / root / path).with_suffix(".py").is_file() for root in ("agent", "client"))


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    module = name_of(path).removeprefix("auth_agent").removeprefix(".")
    upwards = [
        name
        for name in imported(path)
        if name.startswith("auth_agent.") and layer(name.removeprefix("auth_agent.")) < layer(module)
    ]
    assert upwards == []


@pytest.mark.parametrize("path", sorted(CLIENT.rglob("*.py")), ids=lambda path: path.name)
def test_the_client_never_imports_the_agent(path: Path) -> None:
    assert [name for name in imported(path) if not name.startswith("auth_agent_client")] == []


def test_no_module_compares_with_a_grants_name() -> None:
    grants = re.compile("authorization_code|client_credentials|device_code", re.IGNORECASE)
    compared = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for path in AGENT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(map(grants.search, map(ast.unparse, [node.left, *node.comparators])))
        and not any(isinstance(one, ast.Constant) and one.value is None for one in node.comparators)
    ]
    assert compared == []


def test_nothing_is_imported_for_type_checkers_only() -> None:
    assert [str(path) for path in MODULES if "TYPE_CHECKING" in path.read_text()] == []


def test_no_module_has_a_vague_name() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "types", "misc"}
    assert [str(path) for path in MODULES if path.stem in vague] == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {name_of(path): imported(path) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, importers: tuple[str, ...]) -> None:
        assert name not in importers, f"a circle: {' > '.join((*importers, name))}"
        if name not in done:
            for name_imported in graph.get(name, ()):
                visit(name_imported, (*importers, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _loaded_libraries(module: str, *libraries: str) -> str:
    """Return which of these libraries are loaded after importing the module."""
    script = f"import {module}, sys; print(set({libraries!r}) & set(sys.modules))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", ["auth_agent.daemon", "auth_agent.oauth.signature", "auth_agent.worker.__main__"])
def test_neither_the_agent_nor_an_idle_worker_loads_the_workers_libraries(
    module: str,
) -> None:
    assert _loaded_libraries(module, *WORKERS_OWN) == "set()\n"


def test_the_signature_check_loads_no_keyring() -> None:
    assert _loaded_libraries("auth_agent.worker.signatures", "keyring", "secretstorage", "joserfc") == "{'joserfc'}\n"


def test_nothing_imports_what_the_keyring_library_imports() -> None:
    assert [path.name for path in MODULES if "auth_agent_client.keyring" in imported(path)] == []


def test_only_the_worker_imports_its_libraries() -> None:
    modules = {
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in WORKERS_OWN and path.parent != AGENT / "worker" and path != KEYRINGS_OWN
    }
    assert modules == set()


def test_the_packages_are_installed_and_not_found_in_the_current_directory(tmp_path: Path) -> None:
    # From the checkout's root `import agent` finds a folder and succeeds; elsewhere it must not.
    script = "import auth_agent, auth_agent_client, importlib.util; print(importlib.util.find_spec('agent'))"
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert process.stdout == "None\n"
