"""The running half: the engine holds the snapshot, a visit holds one request, the recorder counts."""
