"""The S3 tier: image blobs in a bucket that all nodes of a cluster share, so that one of them asks the registry.

`settings` and `keys` say where and as whom; `sign` and `bucket` speak S3; `tier` puts the bucket before a registry for
one pull; `shelf` is what waits on disk to be put there; `send` and `keep` put it, in a worker process; `keeper` starts
that process. Nothing here knows of images, layers' contents or the daemon.
"""
