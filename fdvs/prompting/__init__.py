"""Between text and language model: fences, prompt injection, prompts, replies."""
