# The project's tasks; each is a word of tools/check.sh, which works without `just` too.

# List the tasks.
default:
    @just --list

# Format Rust and Python in place.
fmt:
    tools/check.sh fmt

# Formatting and lints; warnings are errors.
lint:
    tools/check.sh lint

# mypy --strict
type:
    tools/check.sh type

# Build the native module and install the package into the active environment.
build:
    tools/check.sh build

# Every test, the Rust ones included.
test:
    tools/check.sh test

# What must hold before a commit: lint, type, docs, build, test.
check:
    tools/check.sh check

# Every fuzz target for some seconds.
fuzz seconds="15":
    FUZZ_SECONDS={{seconds}} tools/check.sh fuzz

# The long seeded runs whole: any history of a stream or a press, and a clean one after it.
soak:
    tools/check.sh soak

# The benches, as benches/README.md describes them.
bench:
    tools/check.sh bench

# Build the documentation into site/.
docs:
    tools/check.sh docs
