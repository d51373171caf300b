"""The node's loops: the only code that changes the machine.

`plan.lifecycle` names one next step for an instance, `perform` makes the one outside call, the journal records it,
and the agent looks again. Imports plan, the contracts, spec and model; never control, never a driver.
"""
