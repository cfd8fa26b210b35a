"""Plain facts about netfilter: what can be matched, where a chain may hook, which names stand for which numbers.

Nothing here has behaviour beyond a table lookup, and nothing is imported eagerly: take the module you need.
Source of every number: nft 1.0.6 (`nft describe`, `nft --debug=netlink`) and Linux 6.18, checked against both by the
tests.
"""
