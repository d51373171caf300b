"""Certificates from a CA by ACME (RFC 8555): the library driven, the hook for dns-01. Sees `model`, `proxy.certs`."""
