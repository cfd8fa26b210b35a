"""The typed ruleset: what a firewall says, free of how it was written."""
