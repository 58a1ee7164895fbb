"""Configuration: composing files and overrides, the grammar of numbers, messages about what is wrong."""
