"""Control groups as files: v1 with split or joined mounts, hybrid, and v2. Read, killed, thawed and removed directly.

Imports model and the runtime contract only. Paths come from /proc/self/mountinfo, never from a fixed name.
"""
