"""How results are shown: one file per format."""
