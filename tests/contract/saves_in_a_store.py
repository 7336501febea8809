"""A start, two saves with a retention each, and an end, in a store: `saves_in_a_store.py <url> <staging> [mirror]`.

With a third argument it is a run in a folder of this machine, which is new, and the store has its second copy.

For test_store_requests.py, which kills it at every request, and lets every answer go wrong.
"""

import sys

import one_save

from keras_session_ext.checkpoint.encoder import Encoder
from keras_session_ext.errors import SessionError
from keras_session_ext.policies.keep import KeepLast
from keras_session_ext.store.run_directory import RunDirectory


def main(url, staging, mirrored=""):
    directory, encoder = RunDirectory(url, staging=staging), Encoder()
    if mirrored:
        directory = RunDirectory(staging + "-run", mirror=url)
    try:
        directory.acquire()
        infos = directory.infos()
    except SessionError as error:
        directory.release()
        print("REFUSED", type(error).__name__, str(error).splitlines()[0], flush=True)
        return
    print("FOUND", *[info.progress.step for info in infos], flush=True)
    for info in infos[:1]:
        try:
            directory.read(info, lambda nbytes: None)
        except SessionError as error:
            print("UNREAD", type(error).__name__, flush=True)
    for step in one_save.STEPS:
        try:
            infos.insert(0, one_save.save(directory, encoder, step))
            print("SAVED" if mirrored else "ACK", step, flush=True)
            directory.retain(KeepLast(1).plan(infos))
            staged = directory.mirror(infos[0].id)
            if staged is not None:
                directory.publish_staged(staged)
                staged.discard()
                print("ACK", step, flush=True)
                directory.retain_mirror()
        except OSError as error:
            print("OSError", error.errno, flush=True)
        except SessionError as error:
            print("SessionError", type(error).__name__, flush=True)
    directory.release()
    print("END", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
