#!/usr/bin/python3
"""build.py BIN OUT [NAME...]: the container images, without a daemon.

BIN holds our programs. Each image becomes OUT/NAME, an OCI layout that is also what `docker load` reads, and OUT/NAME.tar
of it. Inside are our programs, the programs that they run, and the libraries of both, as Debian's packages have them on
this machine, with the licence of every package that something comes from, and the names that scanners look for
(/var/lib/dpkg/status.d). The same commit on the same packages gives the same bytes.
"""
import functools
import glob
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

IMAGES = {
    "thinsnap-csi": {
        "title": "thinsnap CSI driver",
        "description": "Kubernetes volumes on thin storage, whose snapshots reach object storage",
        "programs": ["thinsnap-csi"],
        # What csi/ starts. The shell is for xfs_admin, and for whoever looks into the pod of a node that is in trouble.
        "runs": ["blkid", "dumpe2fs", "e2fsck", "mkfs.ext4", "resize2fs", "tune2fs", "mkfs.xfs", "xfs_admin", "xfs_db", "xfs_growfs",
                 "xfs_repair", "busybox"],
        "links": {"/usr/bin/sh": "busybox"},
        "files": ["/etc/mke2fs.conf"],
        "user": "0:0",  # it mounts, and owns block devices
    },
    "thinsnap-operator": {
        "title": "thinsnap operator",
        "description": "Backups of Kubernetes volumes to object storage, with KubeStash's API",
        "programs": ["thinsnap-operator", "thinsnap"],
        "runs": [],
        "links": {},
        "files": ["/usr/share/zoneinfo"],
        "user": "65532:65532",
    },
}
# What the compiler put into our programs without a library of its own.
COMPILED_IN = ["libboost1.81-dev", "libcli11-dev", "libhowardhinnant-date-dev", "libgrpc++-dev", "libprotobuf-dev"]

PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
GROUP = "root:x:0:\nnonroot:x:65532:\n"
FOLDERS = {"/dev": 0o755, "/proc": 0o555, "/sys": 0o555, "/run": 0o755, "/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777}
MERGED = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}


def run(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def merged(path):
    """/lib/x and /usr/lib/x are one file; this names it in one way."""
    return re.sub(r"^/(bin|sbin|lib|lib64)(?=/|$)", r"/usr/\1", path)


@functools.cache
def owners():
    """Each file of this machine's packages -> the package."""
    found = {}
    for name in glob.glob("/var/lib/dpkg/info/*.list"):
        package = os.path.basename(name)[:-len(".list")].split(":")[0]
        with open(name, encoding="utf-8") as lines:
            for line in lines:
                found[merged(line.rstrip("\n"))] = package
    return found


def unpacked_root():
    """Where `./run setup` unpacks Boost on a machine whose own is another."""
    return os.path.join(ROOT, "build", "deps")


def doc_folder(package):
    for root in ("", unpacked_root()):
        folder = f"{root}/usr/share/doc/{package}"
        if os.path.isfile(folder + "/copyright"):
            return folder
    sys.exit(f"build.py: package {package} has no copyright file; install it again without dpkg's path-exclude")


class Image:
    """The files of an image: path -> (mode, bytes or the target of a link); and who each is from."""

    def __init__(self):
        self.files = {}
        self.packages = {}  # name -> the paths of its files in the image

    def add(self, path, content, mode=0o644, package=None):
        self.files[path] = (mode, content)
        if package:
            self.packages.setdefault(package, set()).add(path)

    def copy(self, path):
        """A file of a package with the links that lead to it, and the libraries that it needs."""
        path = merged(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))
        if path in self.files:
            return
        package = owners().get(path)
        if package is None:
            sys.exit(f"build.py: {path} is of no Debian package, so its licence is not known")
        if os.path.islink(path):
            target = os.readlink(path)
            self.add(path, target, None, package)
            return self.copy(os.path.join(os.path.dirname(path), target))
        with open(path, "rb") as file:
            content = file.read()
        self.add(path, content, os.stat(path).st_mode & 0o777, package)
        if content.startswith(b"\x7fELF"):
            self.copy_libraries(path)

    def copy_tree(self, folder):
        for path in sorted(glob.glob(folder + "/**", recursive=True)):
            if os.path.isfile(path) and not re.search(r"/zoneinfo/(posix/|right/|localtime$)", path):
                self.copy(path)

    def copy_libraries(self, program):
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if "not a dynamic executable" in listed.stdout + listed.stderr:
            return
        if "not found" in listed.stdout:
            sys.exit(f"build.py: {program} needs a library that is not here:\n{listed.stdout}")
        for library in re.findall(r"(?:=>|^)\s+(/\S+) \(0x", listed.stdout, re.MULTILINE):
            if library.startswith(unpacked_root()):
                self.copy_unpacked(library)
            else:
                self.copy(library)

    def copy_unpacked(self, library):
        """A library of build/deps, which dpkg does not know: Boost's packages are named after the library."""
        name = os.path.basename(library)
        package = re.sub(r"_", "-", name.split(".so.")[0]) + re.sub(r"^.*\.so\.(\d+\.\d+)", r"\1", name)
        with open(library, "rb") as file:
            self.add("/usr/lib/" + os.path.basename(os.path.dirname(library)) + "/" + name, file.read(), 0o644, package)

    def add_program(self, path):
        """One of ours, without its debugging symbols."""
        self.copy_libraries(path)
        stripped = f"{path}.stripped-{os.getpid()}"
        run("strip", "--strip-unneeded", "-o", stripped, path)
        with open(stripped, "rb") as file:
            self.add("/usr/bin/" + os.path.basename(path), file.read(), 0o755, "thinsnap")
        os.remove(stripped)

    def add_certificates(self):
        """The authorities of ca-certificates, whichever others this machine trusts."""
        bundle = b""
        for path in sorted(glob.glob("/usr/share/ca-certificates/mozilla/*.crt")):
            with open(path, "rb") as file:
                bundle += file.read()
        if not bundle:
            sys.exit("build.py: the package ca-certificates is not installed")
        self.add("/etc/ssl/certs/ca-certificates.crt", bundle, package="ca-certificates")

    def add_licences(self):
        """For each package its copyright file, the common licences that it names, and its entry for scanners."""
        with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
            self.add("/usr/share/doc/thinsnap/copyright", file.read(), package="thinsnap")
        for package in COMPILED_IN:
            self.packages.setdefault(package, set())
        common = set()
        for package in sorted(self.packages.keys() - {"thinsnap"}):
            with open(doc_folder(package) + "/copyright", "rb") as file:
                text = file.read()
            self.add(f"/usr/share/doc/{package}/copyright", text, package=package)
            common |= set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9])", text.decode()))
        for name in sorted(common):
            if os.path.exists(f"/usr/share/common-licenses/{name}"):
                self.copy(f"/usr/share/common-licenses/{name}")
        with open(doc_folder("base-files") + "/copyright", "rb") as file:
            self.add("/usr/share/doc/base-files/copyright", file.read(), package="base-files")
        for package, paths in sorted(self.packages.items()):
            sums = "".join(f"{hashlib.md5(self.files[path][1]).hexdigest()}  {path[1:]}\n"
                           for path in sorted(paths) if self.files[path][0] is not None)
            self.add(f"/var/lib/dpkg/status.d/{package}.md5sums", sums.encode())
            if package != "thinsnap":
                self.add(f"/var/lib/dpkg/status.d/{package}", status_of(package))

    def layer(self, epoch):
        """The files as a tar archive: sorted, everything root's, one time."""
        folders = dict(FOLDERS)
        for path in self.files:
            folder = os.path.dirname(path)
            while folder != "/":
                folders.setdefault(folder, 0o755)
                folder = os.path.dirname(folder)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(folders.keys() | self.files.keys()):
                entry = tarfile.TarInfo(path[1:])
                entry.mtime = epoch
                if path in folders:
                    entry.type, entry.mode = tarfile.DIRTYPE, folders[path]
                    archive.addfile(entry)
                    continue
                mode, content = self.files[path]
                if mode is None:
                    entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, content
                    archive.addfile(entry)
                else:
                    entry.mode, entry.size = mode, len(content)
                    archive.addfile(entry, io.BytesIO(content))
        return out.getvalue()


def status_of(package):
    """dpkg's own words about an installed package; of an unpacked one its name."""
    found = subprocess.run(["dpkg-query", "--status", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if found.returncode == 0:
        return re.sub(rb"(?m)^Conffiles:\n(?: .*\n)*", b"", found.stdout)
    return f"Package: {package}\nStatus: install ok unpacked\n".encode()


def fill(spec, bin_folder):
    image = Image()
    for path, target in MERGED.items():
        image.add(path, target, None)
    image.add("/etc/passwd", PASSWD.encode())
    image.add("/etc/group", GROUP.encode())
    image.add("/etc/nsswitch.conf", b"hosts: files dns\n")
    image.copy("/usr/lib/os-release")
    image.add("/etc/os-release", "../usr/lib/os-release", None, "base-files")
    image.add_certificates()
    for program in spec["programs"]:
        image.add_program(os.path.join(bin_folder, program))
    for program in spec["runs"]:
        path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None:
            sys.exit(f"build.py: {program} is not installed")
        image.copy(path)
    for path, target in spec["links"].items():
        image.add(path, target, None)
    for path in spec["files"]:
        (image.copy_tree if os.path.isdir(path) else image.copy)(path)
    image.add_licences()
    return image


def config_of(spec, entrypoint, layer, epoch, version, revision):
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    label = "org.opencontainers.image."
    return {
        "created": created,
        "architecture": run("dpkg", "--print-architecture").strip(),
        "os": "linux",
        "config": {
            "User": spec["user"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Entrypoint": entrypoint,
            "WorkingDir": "/",
            "Labels": {
                label + "title": spec["title"],
                label + "description": spec["description"],
                label + "version": version,
                label + "revision": revision,
                label + "created": created,
                label + "licenses": "Apache-2.0",  # ours; those of the packages inside are in /usr/share/doc
            },
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "deploy/images/build.py"}],
    }


def write_layout(folder, name, tag, layer, config, epoch):
    """An OCI layout with the manifest.json of `docker save` beside its index, and the archive of both."""
    shutil.rmtree(folder, ignore_errors=True)
    blobs = os.path.join(folder, "blobs", "sha256")
    os.makedirs(blobs)

    def blob(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(content)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content)}

    def write_json(path, value):
        with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"))

    oci = "application/vnd.oci.image."
    layers = [blob(oci + "layer.v1.tar+gzip", gzip.compress(layer, 6, mtime=0))]
    config_blob = blob(oci + "config.v1+json", json.dumps(config, separators=(",", ":")).encode())
    manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": config_blob, "layers": layers}
    top = blob(oci + "manifest.v1+json", json.dumps(manifest, separators=(",", ":")).encode())
    top["annotations"] = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": f"{name}:{tag}"}
    write_json("oci-layout", {"imageLayoutVersion": "1.0.0"})
    write_json("index.json", {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": [top]})
    path_of = lambda descriptor: "blobs/sha256/" + descriptor["digest"][len("sha256:"):]
    write_json("manifest.json", [{"Config": path_of(config_blob), "RepoTags": [f"{name}:{tag}"],
                                  "Layers": [path_of(layers[0])]}])

    def plain(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = epoch
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    with tarfile.open(folder + ".tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(glob.glob(folder + "/**", recursive=True)):
            if path.rstrip("/") != folder:
                archive.add(path, os.path.relpath(path, folder), recursive=False, filter=plain)
    return top["digest"]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    bin_folder, out = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    names = sys.argv[3:] or list(IMAGES)
    git = lambda *words: run("git", "-c", "safe.directory=*", "-C", ROOT, *words).strip()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))
    revision = git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    for name in names:
        spec = IMAGES[name]
        program = os.path.join(bin_folder, spec["programs"][0])
        version = run(program, "--version").split()[-1]
        layer = fill(spec, bin_folder).layer(epoch)
        config = config_of(spec, ["/usr/bin/" + spec["programs"][0]], layer, epoch, version, revision)
        digest = write_layout(os.path.join(out, name), "thinsnap.io/" + name, version, layer, config, epoch)
        print(f"thinsnap.io/{name}:{version}  {os.path.getsize(os.path.join(out, name + '.tar')) >> 20} MiB  {digest}")


if __name__ == "__main__":
    main()
