"""The miniature world: everything the whole pipeline needs, offline, in minutes."""
