"""Pages in a real browser, Debian's Chromium: what a person sees, by which keys, and what pages of strangers can do."""
