"""Backends: what the typed ruleset looks like to those who load it."""
