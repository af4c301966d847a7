"""Results as plain data: nested for JSON, flat for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import cast


def flat(data: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one: ``{"cost": {"usd": 1}}`` gives ``{"cost_usd": 1}``.

    A ``None`` stays under its own name.
    """
    row: dict[str, object] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            row.update(flat(cast("Mapping[str, object]", value), f"{prefix}{name}_"))
        elif isinstance(value, list | tuple):
            row[f"{prefix}{name}"] = " ".join(map(str, cast("Sequence[object]", value)))
        else:
            row[f"{prefix}{name}"] = value
    return row


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """A table as CSV; a column for every key of any row, empty where a row has none."""
    flattened = [flat(row) for row in rows]
    nested = {name for row in rows for name, value in row.items() if isinstance(value, Mapping)}
    columns = [c for c in dict.fromkeys(c for row in flattened for c in row) if c not in nested]
    page = io.StringIO()
    writer = csv.DictWriter(page, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flattened)
    return page.getvalue()
