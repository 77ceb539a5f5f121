"""Small made-up worlds, in HotpotQA's form, and an oracle that reads them."""
