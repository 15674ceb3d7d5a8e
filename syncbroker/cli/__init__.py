"""The command line. `main` puts the commands together; each group of commands has a file of its own.

Exit codes: 0 done; 1 an error, also when one system failed while the others went on; 2 a wrong command line (an unknown
option, or something named that does not exist), or nothing to do; 130 interrupted.

Results go to standard output, errors and progress to standard error. With `--json` the result is one JSON document, and
an error is one too: {"error": {"kind", "message", "hint", "system", "problems"}}.
"""
