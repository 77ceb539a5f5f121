"""Readers of public sets, from the user's files: one module per source, each with `read(data)`."""
