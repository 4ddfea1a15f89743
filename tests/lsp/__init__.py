"""The language server as an editor meets it: a process that speaks JSON-RPC on its stdin and stdout."""
