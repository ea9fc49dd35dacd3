# Install fewpick in a container that holds its repository at /opt/fewpick.
set -eu
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv
rm -rf /var/lib/apt/lists/*
cd /opt/fewpick
python3 -m venv .venv
.venv/bin/pip install --no-cache-dir --constraint constraints.txt --editable .
# Users may not write here, so that Python would compile the package at each start.
python3 -m compileall -q src workflow
