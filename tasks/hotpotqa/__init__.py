"""HotpotQA: questions whose answer takes two paragraphs out of ten ("HotpotQA: A Dataset for Diverse, Explainable
Multi-hop Question Answering", Yang et al., EMNLP 2018).

records.py reads the public files, subsets.py decides which paragraphs a model sees and in which order, worlds.py
writes questions of the same form about small made-up worlds, without end and without a download.
"""
