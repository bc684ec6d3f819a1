"""Schemas that the engine writes: the `.avsc` of a command or event from its class, and the next one when it changes.

`drafts.drafting` is where it begins. `types` says what a class is in Avro, `words` finds what is said of it, `merging`
keeps what the class leaves open, `text` is the form of a file, `plan` holds classes against the files that are there,
and `changes` says what a difference means.
"""
