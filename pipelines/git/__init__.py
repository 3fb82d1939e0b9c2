"""Git without the domain: a repository, its credentials, and the forge that hosts it."""
