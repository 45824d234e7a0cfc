"""One model of everything a campaign has seen: it proposes configurations, and says which one is best."""
