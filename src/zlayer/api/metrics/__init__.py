"""What `GET /metrics` tells: pure functions from what the daemon knows anyway to families of samples, and their text.

Nothing is counted for a scrape's sake and nothing is kept between two. Labels are names that users gave (deployment,
service, endpoint, certificate), replica numbers and words of ours: there are as many as there are of those things.
May import what `api` may.
"""
