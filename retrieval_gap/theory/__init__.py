"""What b bits of state can do, and how many of them a model uses: bounds and a probe.  docs/theory.md explains both."""
