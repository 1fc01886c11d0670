#!/usr/bin/env bash
# The project's tasks, one word each: tools/check.sh TASK…
# `just` and `.ci/run` call this file, so that all three do the same. It uses the Python that is
# active (or $PYTHON), with `pip install '.[dev]'` done in it.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
ALL=(lint type docs build test)

usage() {
  cat <<TEXT
usage: tools/check.sh TASK…
  fmt    format Rust and Python in place
  lint   formatting and lints, warnings are errors
  type   mypy --strict
  docs   build the documentation and the Rust API pages, warnings are errors
  build  build the native module and install the package into the active environment
  test   every test, the Rust ones included
  fuzz   every fuzz target for FUZZ_SECONDS seconds (15)
  soak   the long seeded runs whole, of which the tests run a tenth
  bench  the benches, as benches/README.md describes them
  check  ${ALL[*]}
TEXT
}

task_fmt() {
  cargo fmt --all
  cargo fmt --manifest-path fuzz/Cargo.toml
  cargo fmt --manifest-path benches/loadgen/Cargo.toml
  "$PYTHON" -m ruff check --fix .
  "$PYTHON" -m ruff format .
}

task_lint() {
  cargo fmt --all --check
  cargo fmt --manifest-path fuzz/Cargo.toml --check
  cargo fmt --manifest-path benches/loadgen/Cargo.toml --check
  cargo clippy --workspace --all-targets --locked -- -D warnings
  cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings
  cargo clippy --manifest-path benches/loadgen/Cargo.toml --all-targets --locked -- -D warnings
  "$PYTHON" -m ruff check .
  "$PYTHON" -m ruff format --check .
}

task_type() { "$PYTHON" -m mypy; }

task_docs() {
  # Its note on the next major version is no warning of ours.
  NO_MKDOCS_2_WARNING=1 "$PYTHON" -m mkdocs build --strict --quiet
  # The binding's documentation is its stub file: rustdoc covers the crates below it.
  RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked --workspace --exclude roomkit-python
}

task_build() { "$PYTHON" -m pip install --quiet '.[dev]'; }

task_test() { "$PYTHON" -m pytest; }

task_soak() {
  cargo test --release --locked -p roomkit-media -- --ignored --nocapture soak_
  ROOMKIT_SOAK=1 "$PYTHON" -m pytest -s tests/voice/test_conversation_histories.py -k every
}

task_fuzz() { tools/fuzz.sh "${FUZZ_SECONDS:-15}"; }

task_bench() { benches/run; }

task_check() { for task in "${ALL[@]}"; do run "$task"; done; }

run() {
  if ! declare -F "task_$1" >/dev/null; then
    echo "tools/check.sh: no task '$1'" >&2
    usage >&2
    exit 2
  fi
  echo "== $1"
  "task_$1"
}

if [ $# -eq 0 ]; then
  usage
  exit 2
fi
for task in "$@"; do run "$task"; done
