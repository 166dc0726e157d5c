"""Maps from the scores of images of which parts are covered; they need no gradient."""
