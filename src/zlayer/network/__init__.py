"""The node's container network: a bridge, a pinned network namespace per instance, masquerade by nftables.

`contract` is what the agent sees; `bridge` is the Linux driver over `links` (rtnetlink), `netns` (pins) and `nft`;
`subnet` chooses addresses for a whole daemon and is pure. Imports model and the standard library only: never the
store, the runtime, control or agent. Addresses of instances are chosen elsewhere (`plan.ipam`); nothing here
remembers anything that the kernel or the pins do not.
"""
