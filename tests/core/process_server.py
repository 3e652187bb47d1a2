"""A small real core for `test_process.py`: speaks the protocol through `nerf_core.contract`, fails on demand."""

import os
import sys
import time

import numpy as np

from nerf_core.contract import messages


def main() -> None:
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    manner = sys.argv[1] if len(sys.argv) > 1 else "serve"
    if manner == "crash":
        sys.exit("ModuleNotFoundError: No module named 'torch'")
    if manner == "mute":
        time.sleep(60)
    if manner == "babble":
        print("Hello, I am no core.", flush=True)
        time.sleep(60)
    while (message := messages.read_message(stdin)) is not None:
        if message.method == "hello":
            protocol = 99 if manner == "future" else messages.PROTOCOL_VERSION
            answer = messages.response(message.id, {"protocol": protocol, "safe": sys.flags.safe_path})
        elif message.method == "double":
            array = np.arange(message.params["count"], dtype=np.float32)
            answer = messages.response(message.id, {"value": 2 * message.params["value"]}, {"array": array})
        elif message.method == "train":
            for step in range(message.params["steps"]):
                params = {"task": "train", "run": message.params["run"], "step": step}
                messages.write_message(stdout, messages.notification("progress", **params))
            answer = messages.response(message.id, {"step": message.params["steps"]})
        elif message.method == "user_error":
            answer = messages.failure(message.id, messages.USER_ERROR, "There is no such run.")
        elif message.method == "bug":
            answer = messages.failure(message.id, messages.INTERNAL_ERROR, "KeyError: 'x'", "Traceback ...")
        elif message.method == "sleep":
            time.sleep(message.params["seconds"])
            answer = messages.response(message.id, {})
        elif message.method == "die":
            print("a last word", file=sys.stderr, flush=True)
            os._exit(message.params["code"])
        elif message.method == "shutdown" and manner == "stubborn":
            while True:
                time.sleep(60)
        else:
            answer = messages.response(message.id, {})
        messages.write_message(stdout, answer)
        if message.method == "shutdown":
            return


if __name__ == "__main__":
    main()
