"""What can be told of a file, or of made-up worlds, without a model: lengths, reach of searches, shortcuts."""
