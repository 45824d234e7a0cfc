"""The one database: server, URLs, set-up, patience."""
