"""Gates: small functions with a code, a title and a threshold; a verdict is never a bare boolean."""
