#!/usr/bin/python3
"""images.py OUT: the images that the cluster needs beside ours, from this machine's programs and the built sidecars. One that
is there already is left as it is, while its program is no newer."""
import functools
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../deploy/images"))
sys.dont_write_bytecode = True
import build  # noqa: E402

BUSYBOX = "/usr/bin/busybox"
SIDECARS = {"csi-provisioner": "v6.3.0", "csi-snapshotter": "v8.7.0", "csi-resizer": "v2.3.0"}


def write(out, name, tag, program, fill, command):
    ready = os.path.join(out, os.path.basename(name) + ".tar")
    if os.path.exists(ready) and os.path.getmtime(ready) > os.path.getmtime(program):
        return
    image = empty()
    fill(image)
    layer = image.layer(0)
    spec = {"user": "0:0", "title": name, "description": "for tests"}
    config = build.config_of(spec, command, layer, 0, tag, "")
    build.write_layout(os.path.join(out, os.path.basename(name)), name, tag, layer, config, 0)


def empty():
    image = build.Image()
    for path, target in build.MERGED.items():
        image.add(path, target, None)
    image.add("/etc/passwd", build.PASSWD.encode())
    image.add("/etc/group", build.GROUP.encode())
    return image


def fill_busybox(image):
    """Debian's, under each of its names."""
    image.copy(BUSYBOX)
    for name in build.run(BUSYBOX, "--list").split():
        if name != "busybox":
            image.add("/usr/bin/" + name, "busybox", None)


def fill_sidecar(path, image):
    image.copy_libraries(path)
    with open(path, "rb") as file:
        image.add("/usr/bin/" + os.path.basename(path), file.read(), 0o755)


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    write(out, "thinsnap.test/pause", "1", BUSYBOX, fill_busybox, ["sleep", "2147483647"])
    write(out, "docker.io/library/busybox", "latest", BUSYBOX, fill_busybox, [])
    for name, tag in SIDECARS.items():
        path = os.path.join(os.environ["THINSNAP_PEERS"], "sidecars", name)
        write(out, "registry.k8s.io/sig-storage/" + name, tag, path, functools.partial(fill_sidecar, path), ["/usr/bin/" + name])


if __name__ == "__main__":
    main()
