"""Pages for people: what they show, how they are rendered, and what their forms do."""
