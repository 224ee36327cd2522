"""How fast this machine is, and whether that is what it should be.

`measures` are the measurements, `cases` runs each in a process of its own, `reference` has the
figures of known machines to compare with.
"""
