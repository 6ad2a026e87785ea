#!/usr/bin/python3
"""manifests.py [--check]: writes deploy/install.yaml and the templates of deploy/chart from the manifests of deploy/.

Those are plain YAML that can be applied as it is. A line that ends in "# chart: PATH" holds the default of that value of
chart/values.yaml, as the whole of its scalar or as a part of it: the chart gets the value there. The namespace becomes the
release's. With --check nothing is written: what is not current is named, and the exit code is 1.
"""
import json
import os
import re
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
CRDS = ["crds/addons.thinsnap.io_addons.yaml", "crds/addons.thinsnap.io_functions.yaml",
        "crds/core.thinsnap.io_backupconfigurations.yaml", "crds/core.thinsnap.io_backupsessions.yaml",
        "crds/core.thinsnap.io_hooktemplates.yaml", "crds/core.thinsnap.io_restoresessions.yaml",
        "crds/storage.thinsnap.io_backupstorages.yaml", "crds/storage.thinsnap.io_repositories.yaml",
        "crds/storage.thinsnap.io_retentionpolicies.yaml", "crds/storage.thinsnap.io_snapshots.yaml",
        "driver/thinpools.yaml"]
TEMPLATES = ["driver/csidriver.yaml", "driver/rbac.yaml", "workloads/certificates.yaml", "workloads/controller.yaml",
             "workloads/node.yaml", "catalog/operator_role.yaml", "catalog/roles.yaml", "operator/operator.yaml"]
MARK = re.compile(r"^(?P<line>.*\S)  # chart: (?P<path>[A-Za-z.]+)$")
NAMESPACE = "thinsnap-system"


def read(path):
    with open(os.path.join(HERE, path), encoding="utf-8") as file:
        return file.read()


def value_at(values, path, where):
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            sys.exit(f"{where}: chart/values.yaml has no {path}")
        values = values[name]
    return values


def as_template(line, path, default, where):
    """The line with the value in the place of its default."""
    start = re.match(r"^\s*(- )?([A-Za-z]+: )?", line)
    head, text = line[:start.end()], line[start.end():]
    if yaml.safe_load(text) == default:
        return f"{head}{{{{ toJson .Values.{path} }}}}"
    word = default if isinstance(default, str) else json.dumps(default)
    if text.count(word) == 1:
        return head + text.replace(word, f"{{{{ .Values.{path} }}}}")
    sys.exit(f"{where}: this line has not the default of {path} ({word}) once: {line.strip()}")


def template_of(source, values, used):
    lines = []
    for number, line in enumerate(read(source).split("\n"), 1):
        marked = MARK.match(line)
        if marked:
            where = f"deploy/{source}:{number}"
            path = marked["path"]
            used.add(path)
            line = as_template(marked["line"], path, value_at(values, path, where), where)
        elif "{{" in line:
            sys.exit(f"deploy/{source}:{number}: templates are written by marks alone")
        lines.append(re.sub(rf"\bnamespace: {NAMESPACE}$", "namespace: {{ .Release.Namespace }}", line))
    return "\n".join(lines)


def leaves(values, prefix=""):
    """Paths that a mark may name: a value that is no mapping, and mappings that are values themselves."""
    for name, value in values.items():
        if isinstance(value, dict) and name not in ("nodeSelector", "resources"):
            yield from leaves(value, prefix + name + ".")
        else:
            yield prefix + name


def check_versions(values):
    """The chart and our images have the version that the programs say."""
    version = re.search(r"project\(thinsnap VERSION (\S+)", read("../CMakeLists.txt"))[1]
    chart = yaml.safe_load(read("chart/Chart.yaml"))
    named = {"chart/Chart.yaml: version": chart["version"], "chart/Chart.yaml: appVersion": chart["appVersion"]}
    for role in ("driver", "operator"):
        named[f"chart/values.yaml: {role}.image"] = values[role]["image"].rpartition(":")[2]
    for where, found in named.items():
        if str(found) != version:
            sys.exit(f"{where} names version {found}; CMakeLists.txt says {version}")


def generated():
    """Path below deploy/ -> text."""
    values = yaml.safe_load(read("chart/values.yaml"))
    check_versions(values)
    used = set()
    note = "# Written by `./run manifests` from deploy/{}; change that.\n"
    files = {}
    for source in CRDS:
        files["chart/crds/" + os.path.basename(source)] = note.format(source) + read(source)
    for source in TEMPLATES:
        files["chart/templates/" + source.replace("/", "_")] = note.format(source) + template_of(source, values, used)
    unused = set(leaves(values)) - used
    if unused:
        sys.exit(f"chart/values.yaml: no manifest uses {', '.join(sorted(unused))}")
    parts = [read(source).strip("\n") for source in ["namespace.yaml"] + CRDS + TEMPLATES]
    plain = "\n---\n".join(re.sub(r"  # chart: \S+$", "", part, flags=re.MULTILINE) for part in parts)
    files["install.yaml"] = ("# The driver and the operator. Written by `./run manifests`; docs/install.md says how to use it.\n"
                             + plain + "\n")
    return files


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    files = generated()
    for folder in ("chart/crds", "chart/templates"):
        for name in os.listdir(os.path.join(HERE, folder)) if os.path.isdir(os.path.join(HERE, folder)) else []:
            if f"{folder}/{name}" not in files and not name.startswith("NOTES"):
                stale.append(f"{folder}/{name}")
                if not check:
                    os.remove(os.path.join(HERE, folder, name))
    for path, text in files.items():
        target = os.path.join(HERE, path)
        current = read(path) if os.path.exists(target) else None
        if current == text:
            continue
        stale.append(path)
        if not check:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
    for path in stale:
        print(f"deploy/{path} " + ("is not current: ./run manifests" if check else "written"))
    if check and stale:
        sys.exit(1)


if __name__ == "__main__":
    main()
