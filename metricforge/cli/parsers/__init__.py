"""The arguments of each command, in modules that import nothing slow."""
