#!/usr/bin/python3
"""images_test.py BIN: the images of ./run images, unpacked and looked at without a daemon.

Exits with 77 and a line "skipped: ..." where this machine cannot unpack them as root.
"""
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Files of ours, and what says whose the others are.
OWN = re.compile(r"^(etc/(passwd|group|nsswitch\.conf)|var/lib/dpkg/status\.d/.*)$")
FORBIDDEN = re.compile(r"^usr/(include|lib/gcc|share/(man|info|locale))/|/cc1plus$|\.a$|\.h$")
# What a tool's driver starts by itself.
TOOLS = ["xfs_db", "xfs_repair"]


def check(condition, message):
    if not condition:
        sys.exit(f"images_test.py: {message}")


def build(bin_folder, out):
    subprocess.run([os.path.join(ROOT, "deploy/images/build.py"), bin_folder, out], check=True)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def load(folder):
    """Checks each digest of a layout; the config, and the archive of the one layer."""
    for name in os.listdir(f"{folder}/blobs/sha256"):
        check(sha256(f"{folder}/blobs/sha256/{name}") == name, f"{folder}: blob {name} has other bytes")
    blob = lambda descriptor: f"{folder}/blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")
    read = lambda path: json.load(open(path, encoding="utf-8"))
    check(read(f"{folder}/oci-layout") == {"imageLayoutVersion": "1.0.0"}, f"{folder}: no OCI layout")
    [top] = read(f"{folder}/index.json")["manifests"]
    manifest = read(blob(top))
    config = read(blob(manifest["config"]))
    [layer] = manifest["layers"]
    [docker] = read(f"{folder}/manifest.json")
    check(docker["Layers"] == ["blobs/sha256/" + layer["digest"].removeprefix("sha256:")], "docker's layer is another")
    check(docker["RepoTags"] == [top["annotations"]["io.containerd.image.name"]], "docker's name is another")
    with tarfile.open(blob(layer)) as archive:
        plain = hashlib.sha256(subprocess.run(["gzip", "-dc", blob(layer)], check=True, stdout=subprocess.PIPE).stdout)
        check(config["rootfs"]["diff_ids"] == ["sha256:" + plain.hexdigest()], f"{folder}: diff_id")
        names = archive.getnames()
        check(names == sorted(names), f"{folder}: the layer is not sorted")
        check({entry.uid for entry in archive} == {0}, f"{folder}: not everything is root's")
    return config, blob(layer)


def started_programs():
    """What csi/ starts, by its sources: the first word of each command line there."""
    found = set()
    for source in glob.glob(f"{ROOT}/csi/**/*.cc", recursive=True):
        with open(source, encoding="utf-8") as file:
            found |= set(re.findall(r'(?:argv = |Run\()\{\s*"([a-z0-9_.]+)"', file.read()))
    check({"mkfs.ext4", "blkid"} <= found, f"the sources of csi/ are not understood: they start {found}")
    return sorted(found)


def check_licences(name, root):
    """Every file is of a package (ours is one) whose licence lies beside it."""
    owned = {}
    folder = f"{root}/var/lib/dpkg/status.d"
    for sums in os.listdir(folder):
        if not sums.endswith(".md5sums"):
            continue
        package = sums.removesuffix(".md5sums")
        text = f"{root}/usr/share/doc/{package}/copyright"
        check(os.path.getsize(text) > 100, f"{name}: package {package} has no licence text")
        for licence in re.findall(r"/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9])", open(text, encoding="utf-8").read()):
            known = os.path.exists(f"{root}/usr/share/common-licenses/{licence}")
            check(known or not os.path.exists(f"/usr/share/common-licenses/{licence}"), f"{name}: {package} names {licence}")
        with open(f"{folder}/{sums}", encoding="utf-8") as lines:
            for line in lines:
                digest, path = line.rstrip("\n").split("  ", 1)
                owned[path] = digest
    count = 0
    for at, _, files in os.walk(root):
        for file in files:
            path = os.path.relpath(os.path.join(at, file), root)
            check(not FORBIDDEN.search(path), f"{name}: {path} has no place in an image")
            if os.path.islink(os.path.join(root, path)) or OWN.match(path):
                continue
            check(path in owned, f"{name}: nobody knows whose {path} is")
            with open(os.path.join(root, path), "rb") as content:
                check(hashlib.md5(content.read()).hexdigest() == owned[path], f"{name}: {path} is not what its package has")
            count += 1
    check(count > 20, f"{name}: only {count} files")


def run_in_chroot(root, user, argv):
    return subprocess.run(["chroot", f"--userspec={user}", root, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={"PATH": "/usr/sbin:/usr/bin"})


def in_chroot(root, user, *argv):
    done = run_in_chroot(root, user, argv)
    check(done.returncode == 0, f"in {root}: {' '.join(argv)}: {done.returncode}: {done.stdout}")
    return done.stdout


def main():
    if os.geteuid() != 0:
        print("skipped: needs root to enter an image")
        sys.exit(77)
    bin_folder = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="thinsnap-images-", dir="/var/tmp") as scratch:
        os.chmod(scratch, 0o755)
        build(bin_folder, f"{scratch}/one")
        build(bin_folder, f"{scratch}/two")
        for name, users in {"thinsnap-csi": "0:0", "thinsnap-operator": "65532:65532"}.items():
            check(sha256(f"{scratch}/one/{name}.tar") == sha256(f"{scratch}/two/{name}.tar"), f"{name}: two builds differ")
            config, layer = load(f"{scratch}/one/{name}")
            check(config["config"]["User"] == users, f"{name}: runs as {config['config']['User']}")
            check(config["config"]["Entrypoint"] == [f"/usr/bin/{name}"], f"{name}: entrypoint")
            labels = config["config"]["Labels"]
            root = f"{scratch}/{name}"
            os.makedirs(root)
            with tarfile.open(layer) as archive:
                archive.extractall(root)
            check_licences(name, root)
            said = in_chroot(root, users, f"/usr/bin/{name}", "--version").strip()
            check(said.split()[-1] == labels["org.opencontainers.image.version"], f"{name} says version {said}")
            check(os.path.getsize(f"{scratch}/one/{name}.tar") < 64 << 20, f"{name}: larger than 64 MiB")
        operator = f"{scratch}/thinsnap-operator"
        in_chroot(operator, "65532:65532", "/usr/bin/thinsnap", "--version")
        check(os.path.exists(f"{operator}/usr/share/zoneinfo/Europe/Berlin"), "the operator knows no time zones")
        check("addons.thinsnap.io" in in_chroot(operator, "65532:65532", "/usr/bin/thinsnap-operator", "crds"), "no CRDs")
        driver = f"{scratch}/thinsnap-csi"
        for tool in started_programs() + TOOLS:
            # Not all of them know -V; what is not there, or lacks a library, ends with 126 or 127.
            done = run_in_chroot(driver, "0:0", [tool, "-V"])
            check(done.returncode < 126, f"{tool} does not start in the driver's image: {done.stdout}")
        with open(f"{driver}/tmp/disk", "wb") as disk:
            disk.truncate(512 << 20)
        for command in (["sh", "-c", "busybox true"], ["mkfs.ext4", "-q", "/tmp/disk"], ["e2fsck", "-f", "-p", "/tmp/disk"],
                        ["dumpe2fs", "-h", "/tmp/disk"], ["blkid", "--probe", "/tmp/disk"],
                        ["mkfs.xfs", "-q", "-f", "-m", "reflink=1", "/tmp/disk"], ["xfs_repair", "-n", "/tmp/disk"],
                        ["xfs_admin", "-U", "generate", "/tmp/disk"]):
            in_chroot(driver, "0:0", *command)


main()
