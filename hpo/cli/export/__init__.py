"""What is printed for other programs: a completion for the shell, a manifest for Kubernetes."""
