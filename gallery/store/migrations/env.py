"""Alembic's environment: always run by the program, on the connection it opened."""

from alembic import context

from gallery.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
