"""Pretrained language models on HotpotQA: prompts, two backends (transformers here, or a server), answers, tables.

request.py says what is asked and answered; local.py and server.py answer it; client.py puts the cache between;
methods.py turns a question into requests and their replies into an answer; evaluate.py and table.py do it for many.
"""
