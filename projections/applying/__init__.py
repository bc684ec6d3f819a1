"""From events to rows: reading, folding, keeping, building anew, setting keys aside."""
