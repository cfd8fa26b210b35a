"""Proofs: packet sets, the solver, questions and assertions, and the witnesses they give."""
