"""Reads commands, one JSON object a line, from standard input, carries them out, and answers each with one line.

The test that started the program decides what is recorded and when; a program driven so can show what an SDK does in
the middle of an outage, which one that runs from start to end cannot. It ends when its input ends.
"""

import json
import sys
import traceback


def serve(handlers):
    """Calls `handlers[command["do"]]` with the rest of each command as keyword arguments."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"done": handlers[command.pop("do")](**command)}
        except Exception:
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
