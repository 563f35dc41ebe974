"""The rows of `make bench`, one kind a file."""
