"""A client for language models: `request` defines requests and replies, `local` and `server` answer, `client`
caches."""
