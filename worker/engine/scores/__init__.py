"""Class scores: where they are in what a network computes, and what they mean."""
