"""The search on virtual time: real workers and supervisors, the ledger's memory twin, accidents drawn by a seed."""
