"""Placeholder assets: everything the libero_object suite loads, made of primitives out of one table.

`table` says what each thing looks like and weighs, `mjcf` turns a row into MJCF, `write` puts the folder on disk.
"""

from vst_vla.envs.placeholders.write import PLACEHOLDER_MARK, PLACEHOLDER_SUITES, write_placeholders

__all__ = ["PLACEHOLDER_MARK", "PLACEHOLDER_SUITES", "write_placeholders"]
