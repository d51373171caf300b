"""Certificates made and read on this node: the local CA, PEM files, sealed keys. Sees `model` only.

`cryptography` costs memory and 40 ms; modules here load it when the first certificate is wanted, not before.
"""
