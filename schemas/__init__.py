"""Events and commands in Avro: one file for each version, and the code that reads and writes by them.

`codec` writes, and reads with upcasters; `fit` and `writer` check a value before it is written; `release` checks a
change of the files.
"""
