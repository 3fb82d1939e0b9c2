"""Parts of libraries that are not theirs to promise: each use, why there is no public way, and that it is still there.

A library listed here is pinned to a minor in pyproject.toml. To move a pin: raise it, run this file, and read the
library's changes of what fails. A new use of a private part fails here until it has its line.
"""

import ast
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
CODE = ("apps", "bento", "infrastructure", "pipelines", "pulumi/blueprint")


@dataclass(frozen=True)
class Use:
    """One part of a library; `takes`: the parameters that it is called with or overridden by."""

    library: str
    part: str
    used_in: str
    why: str
    takes: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.part} in {self.used_in}"


def server(part: str, why: str, takes: tuple[str, ...] | None = None) -> Use:
    return Use("uvicorn", part, "bento/server.py", why, takes)


def supervisor(part: str, why: str, takes: tuple[str, ...] | None = None) -> Use:
    return Use("kantoku", part, "pipelines/embedded/circus.py", why, takes)


DRAINS = "clients drain apart from the private listener, and uvicorn has one state for all its sockets"
STARTS = "uvicorn's own serve() takes the signals, and stops all its sockets at once"
CRASHES = "restarts wait longer after each crash; circus' own give up for good"
KEEPS = "kantoku ends the arbiter as soon as a watcher has no process"
JOINS = "add_watcher makes circus' own Watcher, and start() takes the lock that the command holds"

USES = [
    server("uvicorn.server:ServerState", DRAINS, ()),
    server("uvicorn.server:Server.startup", STARTS, ("self", "sockets")),
    server("uvicorn.server:Server.shutdown", STARTS, ("self", "sockets")),
    server("uvicorn.server:Server.on_tick", "nothing else writes the Date header", ("self", "counter")),
    Use(
        "bentoml",
        "bentoml._internal.container:BentoMLContainer.metrics_client",
        "bento/server.py",
        "only the container says which client of Prometheus counts; that for many processes costs thrice as much",
    ),
    Use(
        "bentoml",
        "bentoml._internal.server.metrics.prometheus:PrometheusClient",
        "bento/server.py",
        "the client of one process",
        ("self", "multiproc"),
    ),
    supervisor("circus.watcher:Watcher._start", JOINS, ("self",)),
    supervisor("circus.watcher:Watcher.initialize", JOINS, ("self", "evpub_socket", "sockets", "arbiter")),
    supervisor("circus.watcher:Watcher.spawn_process", CRASHES, ("self", "recovery_wid")),
    supervisor("circus.watcher:Watcher.reap_process", CRASHES, ("self", "pid", "status")),
    supervisor("circus.watcher:Watcher.manage_processes", CRASHES, ("self",)),
    supervisor("circus.arbiter:Arbiter.manage_watchers", KEEPS, ("self",)),
    supervisor("circus.arbiter:Arbiter.reap_processes", KEEPS, ("self",)),
]

# Attributes of objects, which only exist while these run, and what the scan below finds by name.
ATTRIBUTES = {
    "bento/server.py": {"bentoml._internal.container", "bentoml._internal.server.metrics.prometheus"},
    "pipelines/embedded/circus.py": {"_start", "_stopping", "_watchers_names"},
    # os._exit is documented, as the end of a forked child.
    "pipelines/runners/worker.py": {"_exit"},
    # Documented with its underscore, so that no column can have its name.
    "pipelines/predictions/store/assessment_rows.py": {"_mapping"},
    "pipelines/predictions/store/summaries.py": {"_mapping"},
    # A rehearsal of Pulumi's engine speaks its wire format; pulumi/requirements.lock pins it.
    "pulumi/blueprint/rehearsal.py": {"_special_secret_sig", "_special_sig_key"},
}


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_private_part_is_where_it_was_and_takes_what_it_took(use):
    version = metadata.version(use.library)
    moved = f"{use.library} {version} moved {use.part}, used in {use.used_in}: {use.why}"
    try:
        part = pkgutil.resolve_name(use.part)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{moved} ({error})")
    if use.takes is not None:
        takes = tuple(inspect.signature(part).parameters) if not inspect.isclass(part) else _of_class(part)
        assert takes == use.takes, moved


def _of_class(part: type) -> tuple[str, ...]:
    found = tuple(inspect.signature(part).parameters)
    return ("self", *found) if found else ()


def test_a_server_of_uvicorn_has_the_state_that_a_drain_looks_at():
    import uvicorn

    moved = f"uvicorn {metadata.version('uvicorn')} moved what bento/server.py uses to drain: "
    config = uvicorn.Config("nothing:here", lifespan="on")
    state = uvicorn.Server(config).server_state
    assert {"connections", "default_headers"} <= set(vars(state)), f"{moved}{sorted(vars(state))}"

    async def app(scope, receive, send):
        raise AssertionError("no request comes")

    config = uvicorn.Config(app, lifespan="on", log_config=None)
    config.load()
    protocol, lifespan = config.http_protocol_class, config.lifespan_class(config)
    assert lifespan.state == {}, f"{moved}the lifespan's state"
    takes = inspect.signature(protocol).parameters
    assert {"config", "server_state", "app_state"} <= set(takes), f"{moved}{protocol.__name__}({', '.join(takes)})"
    assert callable(protocol.shutdown), f"{moved}shutdown() of a connection"


def test_an_arbiter_of_circus_has_the_state_that_the_supervisor_reads():
    from circus.arbiter import Arbiter
    from circus.watcher import Watcher

    arbiter = Arbiter([], "inproc://commands", "inproc://events")
    watcher = Watcher("one", "true")

    moved = f"kantoku {metadata.version('kantoku')} moved what pipelines/embedded/circus.py uses: "
    for owner, names in ((arbiter, ("_watchers_names", "_stopping", "watchers")), (watcher, ("processes", "respawn"))):
        for name in names:
            assert hasattr(owner, name), f"{moved}{type(owner).__name__}.{name}"


@pytest.mark.parametrize("library", sorted({use.library for use in USES}))
def test_a_library_whose_private_parts_are_used_is_pinned_to_a_minor(library):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    pins = [wanted for one in every if (wanted := Requirement(one)).name == library]
    now = Version(metadata.version(library))

    closed = [pin for pin in pins if not pin.specifier.contains(f"{now.major}.{now.minor + 1}.0")]
    assert closed, f"pyproject.toml lets a new minor of {library} in: {', '.join(map(str, pins)) or 'it is not named'}"


def test_no_other_private_part_of_a_library_or_of_another_module_is_used():
    found: dict[str, set[str]] = {}
    for top in CODE:
        for path in sorted((ROOT / top).rglob("*.py")):
            if names := set(_foreign_names(ast.parse(path.read_text(encoding="utf-8")))):
                found[str(path.relative_to(ROOT))] = names

    assert found == ATTRIBUTES


def _foreign_names(tree: ast.Module) -> Iterator[str]:
    """Names with a leading underscore that the file reads and does not define itself."""
    own = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            if any(_is_private(part) for part in (node.module or "").split(".")):
                yield node.module or ""
            yield from (name.name for name in node.names if _is_private(name.name))
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if any(_is_private(part) for part in name.name.split(".")))


def _is_private(name: str) -> bool:
    return name.startswith("_") and name != "_" and not name.startswith("__")


@pytest.mark.parametrize(
    "text",
    [
        "import a._b",
        "from a._b import c",
        "from a import _b",
        "import a\na._b()",
        "class A(B):\n  def c(self): self._b",
    ],
)
def test_the_scan_sees_every_way_to_reach_a_private_part(text):
    assert len(list(_foreign_names(ast.parse(text)))) == 1


def test_what_a_file_defines_itself_is_its_own():
    assert not list(
        _foreign_names(ast.parse("class A:\n  def _b(self): self._c = self._b\n  d = lambda s: s._c\n_e = 1"))
    )
