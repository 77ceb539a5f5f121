"""Messages of servers that a prompt does not fit into the model's context: each in its own words, with its own status
(400, 413, 422, 500), or inside a stream that began well."""

import re

# By server or service, a pattern of its words, without numbers and names.  Each is tested with a whole message.
FORMS = {
    "OpenAI, vLLM, DeepSeek, OpenRouter": r"maximum context length",
    "OpenAI, Groq (code)": r"context_length_exceeded|reduce the length of the messages",
    "vLLM": r"longer than the maximum model length",
    "llama.cpp": r"exceeds? the available context size|exceed_context_size|input is too large to process",
    "SGLang": r"longer than the model's context length|exceeds the model's maximum context",
    "TGI, Together": r"inputs.{0,3} must have less than|inputs.{0,40}max_new_tokens.{0,3} must be <=",
    "Gemini": r"token count .{0,40}exceeds the maximum number of (input )?tokens",
    "Anthropic, Fireworks": r"prompt is too long",
    "xAI": r"maximum prompt length",
    "Mistral": r"too large for model with \d+ maximum context",
    "Cohere": r"too many tokens: ",
    "TensorRT-LLM": r"prompt length .{0,20}exceeds maximum input length",
    "Bedrock": r"input is too long for requested model",
    "LM Studio, Ollama": r"context length of only|exceeded max context length|context[ _](window|overflow)",
}
_ANY = re.compile("|".join(f"(?:{words})" for words in FORMS.values()), re.IGNORECASE | re.DOTALL)
# Statuses of a refused request, for messages in other words.
REFUSING = (400, 413, 422)
HINT = "if its prompt is too long for the model, --context-limit leaves such prompts out"


def says_too_long(told: str) -> bool:
    return _ANY.search(told) is not None
