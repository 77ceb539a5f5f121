"""Public data sets: where they lie, how they are fetched and checked.  Nothing is fetched unless it is asked for."""
