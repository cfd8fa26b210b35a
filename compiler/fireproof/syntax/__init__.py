"""Text to typed ruleset: blocks, statements (lark), values, and the meaning of names."""
