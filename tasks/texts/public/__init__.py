"""Readers of public sets, from files of the user's: a module each offers `read(data)` under its set's name."""
