"""Glue per framework: which version am I, who is signed in? Wrapping the app needs none of it."""
