"""Bounds on what b bits of state can do, and a probe of how many bits a model uses.  docs/theory.md explains both."""
