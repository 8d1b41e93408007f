"""What can go wrong, made to go wrong: each module tries one kind of fault and returns an `outcome.Outcome`."""
