"""The history of the database's tables, one file a revision, run by alembic: docs/store.md.

It covers every table in the database, also those of rooms above this one, such as the triggers of
`pipelines.retraining`. A revision therefore imports none of our code: it says in full what it changes.
"""
