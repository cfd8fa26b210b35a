"""Files, places in them, includes, and the diagnostics that point at those places."""
