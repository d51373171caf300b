"""The `oci` driver: crun, runc or youki, each container under a conmon of its own, so that none dies with the daemon.

The kernel is asked directly where that is possible (pidfd, inotify, cgroup files): an engine command costs ten
milliseconds or more. Imports model, spec and `runtime.contract`; nothing of image, network or the agent.
"""
