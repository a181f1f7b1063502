"""What was bought: samples, and the ledger of what they cost."""
