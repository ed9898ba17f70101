"""Django's PostgreSQL, of which a restart is not seen: see ``base`` and docs/adr/0011-connections-to-postgresql.md."""
