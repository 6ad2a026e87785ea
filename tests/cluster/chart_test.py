#!/usr/bin/python3
"""chart_test.py PEERS: the chart of deploy/chart through a real helm: with the default values it is deploy/install.yaml.

Exits with 77 and a line "skipped: ..." where helm cannot be built.
"""
import os
import subprocess
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(HERE, "../../deploy")


def helm(program, *words, fails=False):
    done = subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if (done.returncode != 0) != fails:
        sys.exit(f"chart_test.py: helm {' '.join(words)}: {done.returncode}: {done.stderr}")
    return done.stderr if fails else done.stdout


def objects(text):
    found = {}
    for item in yaml.safe_load_all(text):
        if item:
            found[item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item
    return found


def template(program, *words, fails=False):
    return helm(program, "template", "thinsnap", f"{DEPLOY}/chart", "--include-crds", "--kube-version", "1.36.3",
                "--namespace", "thinsnap-system", *words, fails=fails)


def main():
    built = subprocess.run([f"{HERE}/peers/helm.sh", sys.argv[1]], stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        print("skipped: " + built.stdout.strip())
        sys.exit(77)
    program = built.stdout.strip()
    helm(program, "lint", "--strict", f"{DEPLOY}/chart")

    with open(f"{DEPLOY}/install.yaml", encoding="utf-8") as file:
        plain = objects(file.read())
    del plain["Namespace", "", "thinsnap-system"]  # helm makes it, or finds it
    rendered = objects(template(program))
    for key in plain.keys() | rendered.keys():
        if plain.get(key) != rendered.get(key):
            sys.exit(f"chart_test.py: {key}: the chart says\n{rendered.get(key)}\ninstall.yaml says\n{plain.get(key)}")

    changed = template(program, "--set", "node.poolFolder=/srv/pool", "--set", "operator.image=registry.example:5000/op:2",
                       "--set", "groupSnapshots=false", "--set", "controller.replicas=3")
    for word in ("--pool=reflink:/srv/pool", "--image=registry.example:5000/op:2", "CSIVolumeGroupSnapshot=false", "replicas: 3"):
        if word not in changed:
            sys.exit(f"chart_test.py: a changed value does not show: {word}")

    for bad in ("node.poolFolder=relative", "node.poolFolder=/a b", "node.poolSize=much", "driver.image=", "controller.replicas=0", "groupSnapshots=yes",
                "imagePullPolicy=Sometimes", "node.pooFolder=/x", "operator.resources.limit.cpu=1"):
        said = template(program, "--set", bad, fails=True)
        if bad.split("=")[0].split(".")[0] not in said:
            sys.exit(f"chart_test.py: {bad} is refused without its name: {said}")


main()
