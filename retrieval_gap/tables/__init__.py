"""Tables of results: the contract of a row, reading, merging, comparing."""
