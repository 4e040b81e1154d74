"""The running half: the engine holds the snapshot, a visit one request, the recorder counts."""
