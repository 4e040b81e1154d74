"""The same request directly and through a proxy: what differs, and whether it may.

``python -m tests.upstream.transparency --proxy nginx`` prints every case that differs.
"""
