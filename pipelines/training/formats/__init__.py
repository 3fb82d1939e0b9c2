"""How a trained model leaves its framework: one format a module, the serving half of which is in bento.formats."""
