"""The embedded evaluator: the semantics of a ruleset run over real packets, with flows, bindings, limits and a clock.

`evaluator` is the way in; `concrete` is the algebra, `conntrack`, `tcp` and `nat` the flow table, `state` what limits,
counters and dynamic sets remember.
"""
