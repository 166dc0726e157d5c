"""Commands of `archetype audit` about reports: decisions and signatures."""
