"""Writes in the folder argv[1]: argv[2] MiB in a row with one fdatasync at the end, then argv[3] random blocks of 4 KiB with
an fdatasync each. Prints MiB/s and writes/s."""
import os
import random
import sys
import time

folder, mib, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
path = os.path.join(folder, "write_speed")
block = os.urandom(1 << 20)
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
begun = time.monotonic()
for _ in range(mib):
    os.write(fd, block)
os.fdatasync(fd)
sequential = mib / (time.monotonic() - begun)
numbers = random.Random(1)
begun = time.monotonic()
for _ in range(writes):
    os.pwrite(fd, block[:4096], numbers.randrange(mib * 256) * 4096)
    os.fdatasync(fd)
scattered = writes / (time.monotonic() - begun)
os.close(fd)
os.unlink(path)
print("%.1f %.1f" % (sequential, scattered))
