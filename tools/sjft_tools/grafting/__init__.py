"""Two heads and the joint data layer on any classification net."""
