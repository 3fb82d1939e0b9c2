"""One module a rule; each looks at the whole tree and tells a Report what is wrong."""
