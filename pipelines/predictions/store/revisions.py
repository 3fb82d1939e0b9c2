"""The revisions of the database: which one it has, which one this program needs, and how to get from one to the other.

They are run by alembic, inside a transaction that the caller has begun: a crash leaves the revision before or the one
after. Looking costs no import of alembic.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.predictions.store.errors import StoreTooNew, StoreUnusable

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, MetaData

MIGRATIONS = Path(__file__).with_name("migrations")
TABLE = "store_revision"  # not alembic's usual name: the database may be MLflow's as well
OLD_TABLE = "store_version"
OLD_VERSION = 1
OLD_REVISION = "0001"
ALEMBIC = threading.Lock()  # it keeps the migration under way in a global variable


@dataclass(frozen=True)
class Revision:
    """One change of the tables. `id`: four digits, counting up. `sentence`: what it changes."""

    id: str
    sentence: str


@dataclass(frozen=True)
class FoundRevision:
    """What a database says about itself. `revision` is None in an empty one; `is_recorded` is False in one of 0.1.0."""

    revision: str | None
    is_recorded: bool


class Revisions:
    """The history in one folder of migrations: a straight line."""

    def __init__(self, folder: Path = MIGRATIONS) -> None:
        self.folder = folder
        self._paths = sorted((folder / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))
        self.ids = [path.name.partition("_")[0] for path in self._paths]

    @property
    def head(self) -> str:
        """The revision that this program needs."""
        return self.ids[-1]

    def all(self) -> list[Revision]:
        """The oldest first."""
        return [Revision(name, _sentence(path)) for name, path in zip(self.ids, self._paths, strict=True)]

    def recorded(self, connection: Connection) -> FoundRevision | None:
        """The revision in the database's own table; None where there is no such table."""
        from sqlalchemy import inspect, text

        if not inspect(connection).has_table(TABLE):
            return None
        return FoundRevision(connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar(), is_recorded=True)  # noqa: S608

    def find(self, connection: Connection, where: str) -> FoundRevision:
        """The database's revision, known to this program or not.

        Raises:
            StoreUnusable: its tables have a version that no release has made.
        """
        from sqlalchemy import inspect, text

        if recorded := self.recorded(connection):
            return recorded
        if not inspect(connection).has_table(OLD_TABLE):
            return FoundRevision(None, is_recorded=False)
        version = connection.execute(text(f"SELECT version FROM {OLD_TABLE}")).scalar()  # noqa: S608 - a constant
        if version not in (None, OLD_VERSION):
            raise StoreUnusable(
                f"the prediction store {where} has version {version} of its tables, which no release has made",
                hint="name another database in MLOPS_STORE, or restore a back-up",
            )
        return FoundRevision(OLD_REVISION, is_recorded=False)

    def missing(self, found: FoundRevision, where: str) -> list[Revision]:
        """What has to run before this program can work with the database.

        Raises:
            StoreTooNew: a newer program has upgraded it.
        """
        if found.revision is None or not found.is_recorded:
            return self.all()
        self.require_known(found.revision, where)
        return [one for one in self.all() if one.id > found.revision]

    def require_known(self, revision: str, where: str) -> None:
        """Raises StoreTooNew unless this program has the revision."""
        if revision not in self.ids:
            raise StoreTooNew(
                f"the prediction store {where} is at revision {revision}; this program knows those up to {self.head}",
                hint="upgrade the monitor, or see docs/store.md, Going back; `mlops store current` shows both",
            )

    def upgrade(self, connection: Connection) -> None:
        """Run what is missing, in the transaction of the connection. The caller holds ALEMBIC."""
        from alembic import command

        command.upgrade(self._online(connection), "head")

    def downgrade(self, connection: Connection, revision: str) -> None:
        """Undo what came after the revision, in the transaction of the connection. The caller holds ALEMBIC."""
        from alembic import command

        command.downgrade(self._online(connection), revision)

    def upgrade_sql(self, found: FoundRevision, dialect: str, lock: str) -> str:
        """The statements of an upgrade, in one transaction. `lock`: a statement that makes other monitors wait."""
        from alembic import command

        start = found.revision if found.is_recorded and found.revision else "base"
        buffer = io.StringIO()
        with ALEMBIC:
            command.upgrade(self._config(buffer, dialect=dialect, lock=lock), f"{start}:head", sql=True)
        return buffer.getvalue()

    def draft(self, connection: Connection, sentence: str, tables: Sequence[MetaData]) -> Path:
        """Write the next revision from the difference between the database and the tables as they are declared.

        Returns the new file, in `versions` of the folder. `sentence` becomes its docstring and its name.
        """
        from alembic import command

        config = self._online(connection)
        config.attributes["options"] |= {"target_metadata": list(tables), "render_item": _render_item}
        config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
        with ALEMBIC:
            script = command.revision(
                config, sentence, autogenerate=True, rev_id=f"{int(self.head) + 1:04}", process_revision_directives=None
            )
        if script is None or isinstance(script, list):
            raise RuntimeError("alembic has not made exactly one revision")
        return Path(script.path)

    def _online(self, connection: Connection) -> Config:
        return self._config(io.StringIO(), connection=connection)

    def _config(self, buffer: io.StringIO, **attributes: Any) -> Config:
        from argparse import Namespace

        from alembic.config import Config

        config = Config(output_buffer=buffer, stdout=buffer, cmd_opts=Namespace(quiet=True))
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        options = {"version_table": TABLE, "transactional_ddl": True, "render_as_batch": True}
        config.attributes.update({"lock": "", "options": options, **attributes})
        return config


def differences(connection: Connection, tables: Sequence[MetaData]) -> list[Any]:
    """How the database's tables differ from those that are declared, in alembic's words; empty where they do not."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    options = {"version_table": TABLE, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, list(tables)))  # type: ignore[arg-type]  # it takes several


def _sentence(path: Path) -> str:
    """A revision's first line, without parsing: Python 3.11 cannot parse in several threads at once."""
    _, quotes, text = path.read_text(encoding="utf-8").partition('"""')
    return text.partition("\n")[0].partition('"""')[0].rstrip(".") if quotes else path.stem


def _render_item(kind: str, item: Any, context: Any) -> str | bool:  # noqa: ARG001
    """Our column types in alembic's words: a revision imports none of our code."""
    from pipelines.predictions.store.schema import JsonText, Moment

    if kind != "type":
        return False
    rendered: dict[type, str] = {
        Moment: "sa.DateTime(timezone=True)",
        JsonText: 'sa.Text().with_variant(postgresql.JSONB(none_as_null=True), "postgresql")',
    }
    return rendered.get(type(item), False)
