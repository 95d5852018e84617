//! libFuzzer on [`fuzz::rules`].
#![no_main]

fuzz::libfuzzer_target!(fuzz::rules::TARGET);
