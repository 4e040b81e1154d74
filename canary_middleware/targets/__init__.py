"""Where a version lives: a versioned handler, or an application with a lifespan of its own."""
