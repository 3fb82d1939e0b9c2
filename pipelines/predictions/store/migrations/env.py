"""How alembic runs a revision; `pipelines.predictions.store.revisions` gives it the connection and the options."""

from alembic import context

config = context.config
if context.is_offline_mode():
    context.configure(dialect_name=config.attributes["dialect"], literal_binds=True, **config.attributes["options"])
else:
    context.configure(connection=config.attributes["connection"], **config.attributes["options"])
with context.begin_transaction():
    if context.is_offline_mode() and config.attributes["lock"]:
        context.execute(config.attributes["lock"])
    context.run_migrations()
