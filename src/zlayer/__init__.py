"""ZLayer: container orchestration in one command.

This file holds the version and nothing else: it is imported by every command, so it must cost nothing.
"""

__version__ = "0.1.0"
