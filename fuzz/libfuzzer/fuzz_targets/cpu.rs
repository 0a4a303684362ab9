#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rimlight_fuzz::backends::cpu(bytes));
