"""An export to parquet that other trainers read: OUT/data/part-NNNNN.parquet, one part for each source file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import batched, chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vst_vla.vla.data.stored import StoredRow
from vst_vla.vla.files import replacing_file

ROWS_PER_GROUP = 64


@dataclass(frozen=True, kw_only=True)
class ParquetParts:
    """A format of `export.py`: a schema, and what becomes of a row.

    convert: the row of the new file and "", or None and the reason why there is none.
    """

    schema: pa.Schema
    convert: Callable[[StoredRow], tuple[dict[str, Any] | None, str]]

    def write_part(self, folder: Path, *, number: int, rows: Iterable[StoredRow]) -> Mapping[str, int]:
        """One parquet file, written a row group at a time; none for no rows, which the readers cannot take."""
        counts: Counter[str] = Counter()
        groups = batched(self._made(rows, counts), ROWS_PER_GROUP)
        if first := next(groups, None):
            path = folder / "data" / f"part-{number:05d}.parquet"
            with replacing_file(path) as fresh, pq.ParquetWriter(fresh, self.schema) as writer:
                for group in chain([first], groups):
                    writer.write_table(pa.Table.from_pylist(list(group), schema=self.schema))
        return counts

    def finish(self, folder: Path, *, num_parts: int) -> None:
        """The parts stay as they are."""

    def _made(self, rows: Iterable[StoredRow], counts: Counter[str]) -> Iterator[dict[str, Any]]:
        for row in rows:
            made, reason = self.convert(row)
            counts[reason] += 1
            if made:
                yield made
