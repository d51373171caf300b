"""How a changed service is replaced, and the verdict on the change. Pure, as all of plan.

`strategy` says in which order and how many at a time, `look` is a service as one turn sees it, `verdict` decides
whether the change is good or has failed, `canary` where its steps stand, `turn` names the next changes of a service.
"""
