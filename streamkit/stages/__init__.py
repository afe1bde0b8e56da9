"""What can be passed along with the handlers of a run, to watch it or to change what they see."""
