//! libFuzzer on [`fuzz::btf`].
#![no_main]

fuzz::libfuzzer_target!(fuzz::btf::TARGET);
