"""Tables of many nights as one: a manifest column whose type changed in between is read as the SQL views read it."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

_TEXT = "VARCHAR"


def concat_drifting(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows, in order; columns that a table lacks are null in its rows.

    Where Arrow has no common type, DuckDB's is taken (an integer among texts is text, a date among moments a moment);
    where DuckDB has none either, everything is text.
    """
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        names = dict.fromkeys(name for table in tables for name in table.column_names)
        agreed = list(tables)
        for name in names:
            agreed = _agree(agreed, name)
        return pa.concat_tables(agreed, promote_options="permissive")


def _agree(tables: list[pa.Table], name: str) -> list[pa.Table]:
    """The tables with one type of the column."""
    having = [table for table in tables if name in table.column_names]
    types = list(dict.fromkeys(table.schema.field(name).type for table in having))
    try:
        pa.concat_tables([table.select([name]) for table in having], promote_options="permissive")
        return tables
    except pa.ArrowException:
        cast = _cast({one: [t.column(name) for t in having if t.schema.field(name).type == one] for one in types})
    taken = dict.fromkeys(types, 0)
    agreed: list[pa.Table] = []
    for table in tables:
        position = table.schema.get_field_index(name)
        if position >= 0:
            one = table.schema.field(position).type
            start, taken[one] = taken[one], taken[one] + table.num_rows
            table = table.set_column(position, name, cast[one].slice(start, table.num_rows))
        agreed.append(table)
    return agreed


def _cast(columns: Mapping[pa.DataType, Sequence[pa.ChunkedArray]]) -> dict[pa.DataType, pa.ChunkedArray]:
    """Columns by their type; all of one type, one behind the other, in the common type of all."""
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        names: list[str] = []
        for one, parts in columns.items():
            together = pa.chunked_array([chunk for part in parts for chunk in part.chunks], one)
            names.append(f"column_{len(names)}")
            connection.register(names[-1], pa.table({"x": together}))

        def cast(common: str) -> dict[pa.DataType, pa.ChunkedArray]:
            found = [connection.sql(f"SELECT CAST(x AS {common}) AS x FROM {name}").to_arrow_table() for name in names]
            return {one: table.column("x") for one, table in zip(columns, found, strict=True)}

        try:
            union = " UNION ALL ".join(f"(SELECT x FROM {name} LIMIT 0)" for name in names)
            return cast(str(connection.sql(union).types[0]))
        except duckdb.Error:
            return cast(_TEXT)
