"""The distribution as somebody else has it: its wheel, its public names, and the projects that it makes."""
