"""The kinds of experiment, and in `grids` their presets."""
