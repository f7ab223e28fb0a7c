"""`swiftsiam bench tune`: settings of the loader that are faster on this machine, if there are."""
