"""The words of the system in Avro: one file per version of each event and command."""
