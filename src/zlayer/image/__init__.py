"""Images: from a reference to a mounted root file system.

References, a registry client, blobs, extracted layers and overlay snapshots. A pull is done by a worker process
(`image.worker`), so the daemon loads no HTTP client and its loop never stalls; `image.local.LocalImages` is what the
daemon holds. Imports spec and model, and storage's contract; never another room's driver, the store or the agent.
"""
