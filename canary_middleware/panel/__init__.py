"""The panel: what a person on call and a release manager see and do, in a browser or by JSON."""
