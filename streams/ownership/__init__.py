"""The one owner of a partition of commands: its queue, the group commit, replies and derived rows.

`owner` commits groups, `takeover` begins with an empty commit of the next epoch. The fence is the journal's append.
"""
