"""Questions put to a ruleset: answers with their places and witnesses, ready to be shown."""
