"""`swiftsiam bench gpu`: all that a GPU can tell, in half an hour: see `command`."""
