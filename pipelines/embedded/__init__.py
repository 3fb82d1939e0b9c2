"""The platform without a cluster: a Git origin, a reconciler, supervised model servers."""
