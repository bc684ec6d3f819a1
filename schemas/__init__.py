"""Events and commands in Avro: one file for each version, and the code that reads and writes by them.

`codec` writes, and reads with upcasters; `fit` and `writer` check a value before it is written; `release` checks a
change of the files, and `drafting` writes them from classes.
"""

from schemas.formats import AVRO, JSON, Format
from schemas.registry import SchemaError
from schemas.upcasting import Fields, Upcasted, Upcaster, dropped

__all__ = ["AVRO", "JSON", "Fields", "Format", "SchemaError", "Upcasted", "Upcaster", "dropped"]
