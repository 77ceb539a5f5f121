"""HotpotQA put to language models as they are: methods, prompts, scoring, the table."""
