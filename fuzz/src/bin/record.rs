//! libFuzzer on [`fuzz::record`].
#![no_main]

fuzz::libfuzzer_target!(fuzz::record::TARGET);
