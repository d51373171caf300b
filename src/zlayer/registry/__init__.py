"""A registry of our own: what `zlayer registry serve` answers by the OCI distribution-spec 1.1, and what it keeps.

It stands on `image` for digests, blobs and the client that asks other registries. It must not import the daemon, the
API or any other room: a registry runs without them.
"""
