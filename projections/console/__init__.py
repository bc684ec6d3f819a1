"""The console: a page in the browser that says whether all is well, and the rules by which that is found."""
