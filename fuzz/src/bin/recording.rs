//! libFuzzer on [`fuzz::recording`].
#![no_main]

fuzz::libfuzzer_target!(fuzz::recording::TARGET);
