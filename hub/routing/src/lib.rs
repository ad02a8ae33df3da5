//! Which pod a request goes to. Pure: the same input gives the same output, without a clock,
//! randomness or I/O.
//!
//! * [`session_id`]: sealed session ids, which name the pod that has the session.
//! * [`decision`]: which revision and pod a request goes to.

pub mod decision;
pub mod session_id;
