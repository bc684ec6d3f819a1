"""The keys of persons: one for each subject, with which what identifies him is sealed, and without which it is gone."""
