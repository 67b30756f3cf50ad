"""A process that gives back the lines that it is given, up to an empty one."""

import sys

if __name__ == "__main__":
    while (line := sys.stdin.buffer.readline()).strip():
        sys.stdout.buffer.write(line)
