#!/usr/bin/env bash
# at_terminal.sh SECONDS COMMAND: runs a line of shell as at a person's terminal, where nobody types.
#
# Standard streams are a terminal, /dev/tty can be opened, and what waits there for an answer waits: input from /dev/null
# would end at once and hide that. Ends with the command's exit code, 124 after so many seconds. Output as the command
# wrote it. Needs script (Debian: bsdutils, always there).
set -euo pipefail
[ $# = 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/nobody"
# Opened for reading and writing, so that it never ends and never has anything.
exec 3<>"$folder/nobody"
# A terminal without colours, and without its own carriage returns.
NO_COLOR=1 TERM=dumb timeout "$1" script -qec "stty -onlcr; $2" /dev/null <&3
