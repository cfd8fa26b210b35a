"""What a ruleset does to a packet, written once and run over any algebra.

`algebra` says what an algebra must offer; `fireproof.evaluate` and `fireproof.verify` provide them.
"""
