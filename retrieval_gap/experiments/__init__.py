"""The kinds of experiment; `grids` has their presets."""
