"""Where models come from: a file, a Hugging Face repository, an Ollama store."""
