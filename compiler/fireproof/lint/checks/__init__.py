"""The checks, one a file.

Each has CODES (what it can find, with a line about it), REFUSED (whether the kernel refuses to load what it finds), and
`run(ruleset)`, which yields the findings.
"""
