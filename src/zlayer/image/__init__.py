"""Images: references, registry client, blobs, layers and snapshots. Imports spec and model, and storage's contract."""
