"""The version, which wheels, checkpoints and scores carry, and that of the contract with plug-ins."""

__version__ = "0.1.0"

# Raised by a change for which plug-ins must be changed too. A plug-in declares the one that it is written for.
CONTRACT = 1
OLDEST_CONTRACT = 1
