"""Where a version lives: a versioned handler, or an application of its own with its own lifespan."""
