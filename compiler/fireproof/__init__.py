"""A firewall compiler that proves what it compiles."""

__version__ = "0.1.0"
