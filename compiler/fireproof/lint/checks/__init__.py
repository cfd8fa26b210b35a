"""The checks, one a file: `CODES` names what it can find, `run(ruleset)` finds it."""
