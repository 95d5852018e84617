#!/bin/sh
# Cargo's compiler for the workspace's crates when they are fuzzed (RUSTC_WORKSPACE_WRAPPER): the one that it names, with LLVM's
# coverage counters, comparisons included, as libFuzzer reads them. A build script is linked to no libFuzzer.
set -eu
case " $* " in
*" --crate-name build_script_"*) exec "$@" ;;
esac
exec "$@" -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
