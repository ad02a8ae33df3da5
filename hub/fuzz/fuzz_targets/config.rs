#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcphub_hub_fuzz::config(data));
