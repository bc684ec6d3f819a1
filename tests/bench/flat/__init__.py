"""Whether costs stay as they are while the journal grows: a module for each claim, and a plot of each."""
