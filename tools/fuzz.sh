#!/usr/bin/env bash
# Runs every fuzz target for some seconds: tools/fuzz.sh [SECONDS] [TARGET…]
#
# The targets are ordinary libFuzzer programs, and these are the flags that cargo-fuzz builds them
# with, less the address sanitizer: the media core forbids unsafe code, so what a run looks for is
# panics, overflows, endless loops and memory without bound. That way the stable toolchain, a C++
# compiler and cmake (for libopus) suffice; `cargo fuzz run TARGET` works on the same files where it
# is installed.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-15}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(cd fuzz_targets && for file in *.rs; do echo "${file%.rs}"; done)
fi

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
# Given through --target, the flags reach the targets and the core but no build script.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 \
-Cdebug-assertions -Coverflow-checks" \
  cargo build --quiet --locked --release --bins --target "$host"

for target in "${targets[@]}"; do
  echo "-- fuzz $target for $seconds s"
  mkdir -p "corpus/$target" "artifacts/$target"
  # What a run finds goes into the first directory; committed seeds are only read.
  directories=("corpus/$target")
  if [ -d "seeds/$target" ]; then directories+=("seeds/$target"); fi
  log=$(mktemp)
  if ! "$CARGO_TARGET_DIR/$host/release/$target" "${directories[@]}" \
    -max_total_time="$seconds" -max_len=1500 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "fuzz target $target failed; the input is in fuzz/artifacts/$target" >&2
    exit 1
  fi
  grep -E 'number_of_executed_units|average_exec_per_sec' "$log"
  rm -f "$log"
done
