"""A table of a PostgreSQL server: a column a field, found by the spider's key, changed in one transaction.

What belongs to others stays: columns that are not ours keep their values and types, rows that did not change
are not written, indexes, views, triggers and grants stay. Needs the extra `postgres` (psycopg 3).
"""

import importlib.util
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from scraper.errors import ScraperError, StoreFull, UsageError
from scraper.model.frozen import frozen
from scraper.runs.sinks.table import LIST, NAMELESS, Table, mixed, text_of, typed, whole

TABLE = "records"
PATIENCE = 30  # seconds to wait for another program that holds the table

_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_LONGEST = 63  # bytes of a name; what is longer is cut by the server, without a word
_TYPES = {"bool": "boolean", "int": "bigint", "float": "double precision"}
_OURS = "a field of the records"  # with its type the comment of a column that we made
_CONNECTION = {"connect_timeout": 10, "application_name": "scraper", "client_encoding": "utf8"}
_PASSWORD = re.compile(r"^(\w+://[^:/@]*):.*@")
_NUL = "NUL characters are U+FFFD: PostgreSQL cannot hold them"


@frozen
class _ExistingColumn:
    """A column of the table as it stands: its type, as SQL names it, and whether that is as we made it."""

    type: str
    is_ours: bool


class Place:
    """Where the table is: `postgresql://user@host/database?table=schema.name` (default: table `records`)."""

    folder = Path(tempfile.gettempdir())

    def __init__(self, url: str) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise UsageError("a table on PostgreSQL needs psycopg", "pip install 'scraper[postgres]'")
        base, _, query = url.partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        self._url = f"{base}?{urlencode([one for one in given if one[0] != 'table'])}"
        table = dict(given).get("table") or TABLE
        schema, _, name = table.rpartition(".")
        self.name = ".".join(map(_quoted, filter(None, (schema, name))))
        self.constraint = _quoted(f"{name[:40]}_by_key")
        self.shown = shown(url)

    def open(self) -> Any:
        """A connection, once it is known that the table can be written; raises UsageError where it cannot."""
        with self._explained():
            connection = self._connect()
            try:
                _check_rights(connection, self.name)
            except BaseException:
                connection.close()
                raise
            return connection

    def discard(self) -> None:
        """Nothing to take back: what was not committed never was."""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction, committed at the end."""
        with self._explained(), self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {PATIENCE * 1000}")
            yield cursor

    def _connect(self) -> Any:
        import psycopg  # an extra, which most projects do without

        # Nothing is prepared: behind PgBouncer the next transaction may be on another connection.
        parameters: dict[str, Any] = {**_CONNECTION, **psycopg.conninfo.conninfo_to_dict(self._url)}
        return psycopg.connect(**parameters, prepare_threshold=None)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise _explain(error, self.shown) from error


def shown(url: str) -> str:
    """The URL of a table without its password."""
    base, _, query = url.partition("?")
    rest = urlencode([one for one in parse_qsl(query) if "password" not in one[0]], safe="/,")
    return _PASSWORD.sub(r"\1@", base) + (f"?{rest}" if rest else "")


def render(table: Table, place: Place) -> list[str]:
    """Bring the table in line with the records; all of it, or nothing."""
    with place.transaction() as cursor:
        writing = _Writing(cursor, place, table)
        writing.run()
    return [*mixed(table), *writing.notes]


def fit(field: str, suffix: str) -> str:
    """The name of a column for a field: not empty, without NUL, at most 63 bytes, no system column's."""
    room = _LONGEST - len(suffix)
    name = (field.replace("\0", "\ufffd") or NAMELESS).encode()[:room].decode("utf-8", "ignore")
    return fit(field, "_2") if not suffix and name in _SYSTEM else name + suffix


class _Writing:
    """One transaction on the table."""

    def __init__(self, cursor: Any, place: Place, table: Table) -> None:
        self.notes: list[str] = []
        self._cursor = cursor
        self._name = place.name
        self._constraint = place.constraint
        self._table = table
        self._columns = table.columns()
        names = {column.field: column.name for column in self._columns}
        self._key = [names[field] for field in table.key if field in names]
        self._has_nul = False

    def run(self) -> None:
        self._make_columns()
        self._copy(self._existing_columns())
        is_keyed = self._make_key()
        self._apply(is_keyed)
        if self._has_nul:
            self.notes.append(_NUL)

    def _do(self, sql: str, *values: object) -> Any:
        return self._cursor.execute(sql, values or None)

    def _existing_columns(self) -> dict[str, _ExistingColumn]:
        rows = self._do(
            "SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum)"
            " FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum",
            self._name,
        )
        return {name: _ExistingColumn(type_, comment == f"{_OURS}, {type_}") for name, type_, comment in rows}

    def _make_columns(self) -> None:
        # Two that make the table at once would fail; readers go on until we commit.
        self._do("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", self._name)
        self._do("SET LOCAL client_min_messages = warning")
        self._do(f"CREATE TABLE IF NOT EXISTS {self._name} ()")
        self._do(f"LOCK TABLE {self._name} IN SHARE ROW EXCLUSIVE MODE")
        existing = self._existing_columns()
        for column in self._columns:
            type_, known = _sql_type(column.type), existing.get(column.name)
            if known is None:
                self._alter(column.name, f"ADD COLUMN {_quoted(column.name)} {type_}", type_)
            elif known.is_ours and known.type != type_:
                self._do(f"DELETE FROM {self._name}")
                self._alter(
                    column.name, f"ALTER COLUMN {_quoted(column.name)} TYPE {type_} USING NULL", type_
                )

    def _alter(self, name: str, change: str, type_: str) -> None:
        self._do(f"ALTER TABLE {self._name} {change}")
        self._do(f"COMMENT ON COLUMN {self._name}.{_quoted(name)} IS '{_OURS}, {type_}'")

    def _copy(self, existing: dict[str, _ExistingColumn]) -> None:
        """The records as they are to be, in a table of this transaction. Types read their own text."""
        names = ", ".join(_quoted(column.name) for column in self._columns)
        self._do(f"CREATE TEMP TABLE stage ON COMMIT DROP AS SELECT {names} FROM {self._name} WITH NO DATA")
        types = [existing[column.name].type for column in self._columns]
        pairs = list(zip(self._columns, types, strict=True))
        with self._cursor.copy(f"COPY stage ({names}) FROM STDIN") as copy:
            for record in self._table:
                copy.write_row([self._cell(record.get(one.field), one.type, type_) for one, type_ in pairs])
        self._do("ANALYZE stage")

    def _cell(self, value: Any, type_: str, existing: str) -> Any:
        if value is None:
            return None
        if existing in ("json", "jsonb"):
            return json.dumps(self._storable(value), ensure_ascii=False)
        if type_.startswith(LIST) and not existing.endswith("[]"):
            return self._storable(text_of(value))
        return self._storable(typed(value, type_))

    def _storable(self, value: Any) -> Any:
        """A value without what the server cannot hold: NUL and surrogates."""
        if isinstance(value, str):
            self._has_nul = self._has_nul or "\0" in value
            return whole(value).replace("\0", "\ufffd")
        if isinstance(value, list):
            return [self._storable(each) for each in value]
        if isinstance(value, dict):
            return {self._storable(name): self._storable(each) for name, each in value.items()}
        return value

    def _make_key(self) -> bool:
        """Whether rows can be found by the key; makes the index for it, or drops ours where two have one."""
        if not self._key or len(self._key) < len(self._table.key):
            return False
        names = ", ".join(map(_quoted, self._key))
        known = self._do(
            "SELECT FROM pg_index WHERE indrelid = %s::regclass AND indisunique AND indimmediate"
            " AND indpred IS NULL AND indexprs IS NULL AND (SELECT array_agg(attname ORDER BY attname)"
            "  FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey)) = "
            "  (SELECT array_agg(name ORDER BY name) FROM unnest(%s::name[]) AS name)",
            self._name,
            self._key,
        ).fetchone()
        if self._is_unique(names):
            if known is None:
                self._do(f"DELETE FROM {self._name}")
                self._do(f"ALTER TABLE {self._name} DROP CONSTRAINT IF EXISTS {self._constraint}")
                self._do(f"ALTER TABLE {self._name} ADD CONSTRAINT {self._constraint} UNIQUE ({names})")
            return True
        self._do(f"ALTER TABLE {self._name} DROP CONSTRAINT IF EXISTS {self._constraint}")
        self.notes.append("no unique key: two records have the same, or one has none")
        return False

    def _is_unique(self, names: str) -> bool:
        lacking = " OR ".join(f"{_quoted(name)} IS NULL" for name in self._key)
        found = self._do(
            f"SELECT EXISTS (SELECT FROM stage WHERE {lacking})"
            f" OR EXISTS (SELECT FROM stage GROUP BY {names} HAVING count(*) > 1)"
        ).fetchone()
        return not found[0]

    def _apply(self, is_keyed: bool) -> None:
        names = ", ".join(_quoted(column.name) for column in self._columns)
        insert = f"INSERT INTO {self._name} AS t ({names}) SELECT {names} FROM stage"
        if is_keyed:
            same = " AND ".join(f"s.{_quoted(name)} = t.{_quoted(name)}" for name in self._key)
            self._do(f"DELETE FROM {self._name} AS t WHERE NOT EXISTS (SELECT FROM stage AS s WHERE {same})")
            insert += f" ON CONFLICT ({', '.join(map(_quoted, self._key))}) {self._update()}"
        else:
            self._do(f"DELETE FROM {self._name}")
        self._do(insert)
        fields = {column.name for column in self._columns}
        for name, column in self._existing_columns().items():
            if column.is_ours and name not in fields:  # no record of today has it
                self._do(f"UPDATE {self._name} SET {_quoted(name)} = NULL WHERE {_quoted(name)} IS NOT NULL")

    def _update(self) -> str:
        others = [_quoted(column.name) for column in self._columns if column.name not in self._key]
        if not others:
            return "DO NOTHING"
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
        values = (", ".join(f"{side}.{name}" for name in others) for side in ("t", "EXCLUDED"))
        # By their image: not every type has an equality. Without the casts: field by field.
        rows = (f"CAST(ROW({each}) AS record)" for each in values)
        return f"DO UPDATE SET {sets} WHERE {' *<> '.join(rows)}"


def _check_rights(connection: Any, name: str) -> None:
    """Raise what the server says where the table can be neither changed nor made."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (name,))
        if cursor.fetchone()[0]:
            cursor.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE NOWAIT")
        else:
            cursor.execute(f"CREATE TABLE {name} ()")
    connection.rollback()


def _sql_type(type_: str) -> str:
    if type_.startswith(LIST):
        return f"{_sql_type(type_.removeprefix(LIST))}[]"
    return _TYPES.get(type_, "text")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _explain(error: Any, name: str) -> ScraperError:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    told = f"cannot write {name}: {lines[0]}"
    if error.sqlstate == "53100":
        return StoreFull(told, "free some space on the server")
    if error.sqlstate == "55P03":
        return UsageError(f"cannot write {name}: another program holds the table", "end that and try again")
    if error.sqlstate is None:
        return UsageError(told, "write postgresql://user@host:5432/database?table=NAME; passwords: ~/.pgpass")
    context = next((line for line in lines if line.startswith("CONTEXT:  COPY stage")), "")
    return UsageError(told + (f" ({context.rpartition(', ')[2]})" if context else ""))
