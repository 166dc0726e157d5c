"""Review of audits: decisions of people, and signatures of reports."""
