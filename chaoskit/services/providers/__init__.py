"""Real servers that a scenario needs, one file each: the file's name is the provider's name."""
