"""What owners tell tails: the hints, and the commits that they bring."""
