"""The completions of the shells and the manual page, made by tools/make_shell_files.py."""
