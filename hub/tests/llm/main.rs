//! The language model as selector, against local servers that use the providers' formats and fail
//! in every way.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail the test"
)]

mod answers;
mod attacks;
mod bounds;
mod categories;
mod failures;
mod keys;
mod provider;
mod shared_answers;
