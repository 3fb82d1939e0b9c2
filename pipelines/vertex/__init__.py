"""Vertex AI: pipelines that run there, and endpoints that follow Git. docs/vertex.md is the guide."""
