"""Does a memory reward help a pretrained language model? SmolLM2-135M on short word problems."""
