"""The model folder that a backbone's name, file or path stands for; a GGUF file becomes one."""
