"""What ``canary doctor`` finds: pure checks of what was seen, and the I/O that sees it."""
