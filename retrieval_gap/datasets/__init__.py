"""Public data sets: where they are, how they are fetched (only if the user asks for it) and checked."""
