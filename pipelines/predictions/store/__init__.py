"""The prediction store: what models answered, what turned out to be true, and what was judged of both.

SQLite without a cluster, PostgreSQL with one, by the same SQLAlchemy Core statements.
"""
