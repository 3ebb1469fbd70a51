"""The staging suite: what a version must do over HTTP before it may be promoted."""
