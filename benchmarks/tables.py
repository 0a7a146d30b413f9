"""Records of a benchmark as tables, one for each family of cases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

# Heading, key of the record, format.
Columns = Sequence[tuple[str, str, str]]


def family_tables(
    records: Sequence[dict[str, Any]],
    columns: Mapping[str, Columns],
    family_of: Callable[[str], str],
) -> list[Table]:
    """Return a table for each family that has records, a row for each of them.

    Records have a ``case``, a ``solver`` and a ``status``, and perhaps a ``message``.
    """
    shown: list[Table] = []
    for family, own_columns in columns.items():
        own = [r for r in records if family_of(r["case"]) == family]
        if not own:
            continue
        table = Table(title=family)
        for head in ("case", "method"):
            table.add_column(head, no_wrap=True)
        for head, _, _ in own_columns:
            table.add_column(head)
        table.add_column("status")
        for record in own:
            values = [_text(record.get(key), form) for _, key, form in own_columns]
            status = record["status"]
            if "message" in record:
                status += f": {record['message'][:60]}"
            table.add_row(record["case"], record["solver"], *values, status)
        shown.append(table)
    return shown


def _text(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
