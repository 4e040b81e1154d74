"""What is to be seen of a namespace, for every surface: values, words and JSON."""
