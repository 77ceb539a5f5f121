"""One client for language models: `request` says what is asked and answered, `local` and `server` answer it, `client`
puts the cache between."""
