"""HotpotQA's public files: records, questions, which paragraphs are shown."""
