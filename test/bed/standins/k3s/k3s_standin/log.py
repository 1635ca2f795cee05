"""Log lines as logrus writes them on stderr. `fatal` ends the process with 1, as logrus does."""
import os
import sys
import time


def _line(level, message):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    sys.stderr.write(f'time="{stamp}" level={level} msg="{quoted}"\n')
    sys.stderr.flush()


def info(message):
    _line("info", message)


def warning(message):
    _line("warning", message)


def error(message):
    _line("error", message)


def fatal(message):
    _line("fatal", message)
    os._exit(1)
