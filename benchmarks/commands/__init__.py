"""`melo bench`: a command for each benchmark."""
