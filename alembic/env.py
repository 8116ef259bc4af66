"""Runs alembic on the connection of the migrating process, all in one transaction."""

from alembic import context

from chatserver.storage import access_tables, sharing_tables  # noqa: F401 (their tables are in the metadata)
from chatserver.storage.postgres.migrate import record_served
from chatserver.storage.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Run `chatserver migrate`: it takes the lock that keeps two migrations apart.")

context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
    record_served(connection, context.get_context().get_current_revision())
